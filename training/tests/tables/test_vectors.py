import numpy as np
import pytest

from nextitem_training.errors import DataError
from nextitem_training.tables.vectors import PretrainedVectors, read_vectors

VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)
STRINGS = np.array(["b", "x", "a"])


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "items.npz", **arrays)
    return tmp_path / "items.npz"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_stand_at_the_codes_of_their_raw_ids(tmp_path, dtype):
    found = read_vectors(saved(tmp_path, ids=STRINGS, vectors=VECTORS.astype(dtype)))
    rows = found.rows(np.array(["a", "b", "c"], dtype=object))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0, 0]] * 3 + [[4, 5], [0, 1], [0, 0]]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_ids_may_be_integers(tmp_path, dtype):
    found = read_vectors(saved(tmp_path, ids=np.array([5, 9, 7], dtype=dtype), vectors=VECTORS))
    assert found.rows(np.array([7, 8], dtype=np.int64)).tolist() == [[0, 0]] * 3 + [[4, 5], [0, 0]]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"ids": STRINGS}, r"items.npz holds ids; expected are 'ids' and 'vectors', as numpy.savez"),
        ({}, "holds nothing; expected are"),
        ({"ids": STRINGS, "vectors": VECTORS[0]}, r"'vectors' .* is float32 \[2\]; expected are floats \[N, P\]"),
        ({"ids": STRINGS, "vectors": VECTORS.astype(int)}, r"'vectors' .* is int64 \[3, 2\]; expected are floats"),
        ({"ids": STRINGS[:0], "vectors": VECTORS[:0]}, r"'vectors' .* is float32 \[0, 2\]"),
        ({"ids": STRINGS[:2], "vectors": VECTORS}, r"'ids' .* shape \[2\] and 'vectors' \[3, 2\]; .* one id per row"),
        (
            {"ids": STRINGS.astype("S"), "vectors": VECTORS},
            r"'ids' .* is of type \|S1; expected are integers or strings",
        ),
        ({"ids": np.array([1.0, 2, 3]), "vectors": VECTORS}, "'ids' .* is of type float64"),
        ({"ids": STRINGS.astype(object), "vectors": VECTORS}, "cannot be read without pickle .* no objects"),
        ({"ids": STRINGS, "vectors": VECTORS * np.nan}, "holds NaN or infinite values in 3 rows, .* id b. Leave"),
        ({"ids": STRINGS, "vectors": VECTORS * 1e300}, "holds NaN or infinite values in 3 rows"),
        ({"ids": np.array(["a", "b", "a"]), "vectors": VECTORS}, "holds 'a' more than once; give one vector per item"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, arrays, sentence):
    with pytest.raises(DataError, match=sentence):
        read_vectors(saved(tmp_path, **arrays))


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"items.npz cannot be read \(No such file.*\[inputs\] pretrained_items has to"):
        read_vectors(tmp_path / "items.npz")
    np.save(tmp_path / "items.npy", VECTORS)
    with pytest.raises(
        DataError, match=r"items.npy holds one array; expected is an .npz file as numpy.savez\(path, ids="
    ):
        read_vectors(tmp_path / "items.npy")
    for content in (b"", b"PK\x03\x04 broken", b"something"):
        (tmp_path / "items.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read without pickle"):
            read_vectors(tmp_path / "items.npz")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array([1, 2]), "'ids' in v.npz holds strings, but the item column holds integers, .* Save the ids as"),
        (
            np.array(["q", "r"], dtype=object),
            "None of the 3 ids in v.npz is an item .* begin with 'b', the items with 'q'",
        ),
    ],
)
def test_ids_that_fit_no_item_are_refused(values, sentence):
    with pytest.raises(DataError, match=sentence):
        PretrainedVectors("v.npz", STRINGS.astype(object), VECTORS).rows(values)


def test_integers_for_an_item_column_of_strings_are_refused():
    with pytest.raises(DataError, match="holds integers, but the item column holds strings"):
        PretrainedVectors("v.npz", np.array([1, 2, 3]), VECTORS).rows(np.array(["1"], dtype=object))

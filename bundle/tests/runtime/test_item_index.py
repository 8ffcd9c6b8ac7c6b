from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, UNKNOWN

INT64 = np.iinfo(np.int64)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
integers = st.one_of(st.integers(INT64.min + 1, INT64.max), st.sampled_from([INT64.max, INT64.min + 1, 2**53 + 1, 0]))


def array(values: list) -> np.ndarray:
    if values and isinstance(values[0], int):
        return np.array(values, dtype=np.int64)
    return np.array([*values, None], dtype=object)[:-1]


@given(st.one_of(*(st.tuples(st.lists(v, unique=True, min_size=1), st.lists(v)) for v in (texts, integers))))
def test_an_id_has_its_own_code_or_that_of_unknown(drawn):
    catalogue, asked = drawn
    index = ItemIndex.of(array(catalogue))
    due = [catalogue.index(item) + FIRST_ITEM if item in catalogue else UNKNOWN for item in [*asked, *catalogue]]
    assert index.codes(array([*asked, *catalogue])).tolist() == due
    assert index.cardinality == FIRST_ITEM + len(catalogue)


@pytest.mark.parametrize("catalogue", [["b", "a", "ä", "🛍", "aa"], [5, INT64.max, INT64.min + 1, -1]])
def test_it_comes_back_from_disk_mapped(catalogue, tmp_path):
    ItemIndex.of(array(catalogue)).save(tmp_path)
    index = ItemIndex.load(tmp_path)
    assert isinstance(index._keys, np.memmap)
    assert index.of_strings == isinstance(catalogue[0], str)
    assert index.codes(array(catalogue)).tolist() == list(range(FIRST_ITEM, FIRST_ITEM + len(catalogue)))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".npy"]


@given(
    st.one_of(
        *(
            st.tuples(st.lists(v, unique=True, min_size=1, max_size=6), st.just(null))
            for v, null in ((texts, ""), (integers, INT64.min))
        )
    ),
    st.data(),
)
def test_a_code_without_an_id_is_unlisted_and_no_id_leads_to_it(drawn, data):
    catalogue, null = drawn
    removed = data.draw(st.lists(st.sampled_from(catalogue), unique=True))
    index = ItemIndex.of(array([null if item in removed else item for item in catalogue]))
    due = [UNKNOWN if item in removed else catalogue.index(item) + FIRST_ITEM for item in catalogue]
    assert index.codes(array(catalogue)).tolist() == due
    assert index.codes(array([null])).tolist() == [UNKNOWN]
    assert index.cardinality == FIRST_ITEM + len(catalogue)
    assert index.listed.tolist() == [True] * FIRST_ITEM + [item not in removed for item in catalogue]


@pytest.mark.parametrize("catalogue", [["b", "", "a", ""], [5, INT64.min, -1, INT64.min]])
def test_codes_without_an_id_come_back_from_disk(catalogue, tmp_path):
    ItemIndex.of(array(catalogue)).save(tmp_path)
    index = ItemIndex.load(tmp_path)
    assert index.codes(array(catalogue)).tolist() == [3, UNKNOWN, 5, UNKNOWN]
    assert index.listed.tolist() == [True, True, True, True, False, True, False]
    (tmp_path / "copy").mkdir()
    index.save(tmp_path / "copy")
    assert ItemIndex.load(tmp_path / "copy").listed.tolist() == index.listed.tolist()


def test_a_catalogue_may_have_removed_everything():
    index = ItemIndex.of(array(["", ""]))
    assert index.codes(array(["", "a"])).tolist() == [UNKNOWN, UNKNOWN]
    assert index.listed.tolist() == [True] * FIRST_ITEM + [False, False]


def test_a_value_that_is_null_keeps_the_code_of_null():
    index = ItemIndex(np.array([INT64.min, 7]), np.array([NULL, 3]))  # as a workflow gives them for items
    assert index.codes(np.array([INT64.min, 7])).tolist() == [NULL, 3]


def test_the_limits_of_int64_are_told_apart_from_their_neighbours():
    index = ItemIndex.of(np.array([INT64.max, INT64.min + 1, 2**53]))
    asked = np.array([INT64.max, INT64.max - 1, INT64.min, INT64.min + 1, INT64.min + 2, 2**53, 2**53 + 1])
    assert index.codes(asked).tolist() == [3, UNKNOWN, UNKNOWN, 4, UNKNOWN, 5, UNKNOWN]


@pytest.mark.parametrize("like", ["a\0", "a\0\0", "\0", "", "a" * 9, "A", "a ", "a\ud800", "á", "a\u0301"])
def test_what_only_resembles_an_item_is_unknown(like):
    index = ItemIndex.of(array(["a", "aaaaaaaa"]))
    assert index.codes(array([like])).tolist() == [UNKNOWN]


@pytest.mark.parametrize("values", [array(["a"])[:0], np.array([], dtype=np.int64)])
def test_an_empty_catalogue_knows_nothing_and_no_ids_have_no_codes(values):
    asked = array(["x", "y"]) if values.dtype == object else np.array([1, 2])
    assert ItemIndex.of(values).codes(asked).tolist() == [UNKNOWN, UNKNOWN]
    assert ItemIndex.of(asked).codes(asked[:0]).tolist() == []


def test_one_long_id_does_not_copy_the_catalogue_to_its_width():
    index = ItemIndex.of(array([f"item {i}" for i in range(20_000)]))
    asked = array(["x" * 1000, *(f"item {i}" for i in range(100))])
    tracemalloc.start()
    try:
        codes = index.codes(asked)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert codes.tolist() == [UNKNOWN, *range(FIRST_ITEM, FIRST_ITEM + 100)]
    assert peak < 200_000, peak  # 20 MB where numpy widens the keys

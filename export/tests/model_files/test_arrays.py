from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from nextitem_export import UnsupportedModel
from nextitem_export.model_files.arrays import read_ids, read_table

TABLE = np.arange(6, dtype=np.float32).reshape(3, 2)


def refusal(read, given) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        read(given)
    return str(caught.value)


def test_a_table_is_read_from_files_and_arrays(tmp_path):
    np.save(tmp_path / "table.npy", TABLE.astype(np.float64))
    save_file({"items": TABLE}, tmp_path / "table.safetensors")
    table = torch.from_numpy(TABLE)
    for given in (tmp_path / "table.npy", str(tmp_path / "table.safetensors"), TABLE, table, table.bfloat16()):
        found = read_table(given)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, table)


def test_what_is_no_table_is_refused(tmp_path):
    save_file({"items": TABLE, "bias": TABLE[0]}, tmp_path / "two.safetensors")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    assert "holds 2 tensors (bias, items), expected one as item_table" in refusal(
        read_table, tmp_path / "two.safetensors"
    )
    assert "broken.npy cannot be read as item_table: ValueError" in refusal(read_table, tmp_path / "broken.npy")
    assert "none.npy cannot be read as item_table: FileNotFoundError" in refusal(read_table, tmp_path / "none.npy")
    assert "table.csv, expected a .npy or a .safetensors file" in refusal(read_table, tmp_path / "table.csv")
    assert "the item_table is int64 [3], expected floats [V, D]" in refusal(read_table, np.arange(3))
    assert "the item_table holds NaN" in refusal(read_table, TABLE * np.nan)


def test_ids_are_read_from_sequences_arrays_and_files(tmp_path):
    np.save(tmp_path / "ids.npy", np.array(["", "a", "b"]))
    assert read_ids(tmp_path / "ids.npy") == ["", "a", "b"]
    assert read_ids([None, 7]) == [None, 7]
    assert read_ids(np.array([7, 8])) == [7, 8]
    assert "the item_ids have the shape [3, 2], expected one raw id for each row" in refusal(read_ids, TABLE)


def test_pickled_ids_are_refused(tmp_path):
    np.save(tmp_path / "ids.npy", np.array(["a", None], dtype=object))
    assert "cannot be read as item_ids" in refusal(read_ids, tmp_path / "ids.npy")

from __future__ import annotations

import pytest
from nvtabular import ops

from harness import Harness, fit, interactions, lists


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> Harness:
    frame = interactions([4, 3, 2], item=list("aabbbcdaé"), number=[5, 5, -7, 2**40, 5, 0, -7, 1, 2])
    columns = ["item", "number"] >> ops.Categorify(out_path=str(tmp_path_factory.mktemp("vocabulary")))
    return Harness(fit(lists(columns, ["item", "number"]), frame), frame)


def test_values_have_nvtabulars_codes(items):
    items.check(
        interactions(
            [1, 6, 2],
            item=["a", "b", "x", "é", None, "c", "d", None, "a"],
            number=[5.0, -7, 0, 2**40, None, 3, 4, 5, 2],
        )
    )


def test_null_and_unknown(items):
    assert items.one(item=[None, "x", "", "a"], number=[None, 99, -1, 5]) == {
        "item_list": [1, 2, 1, 3],
        "number_list": [1, 2, 2, 3],
    }

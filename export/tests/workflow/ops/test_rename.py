from __future__ import annotations

import pytest
from nvtabular import ops

from export.tests.support.harness import Harness, fit, interactions, lists

FRAME = interactions([6, 1, 3], number=range(10), other=range(10, 20))


@pytest.mark.parametrize(
    ("operator", "names"),
    [
        (ops.Rename(f=str.upper), ["NUMBER", "OTHER"]),
        (ops.Rename(postfix="_x"), ["number_x", "other_x"]),
    ],
    ids=["function", "postfix"],
)
def test_columns_under_other_names(operator, names):
    harness = Harness(fit(lists(["number", "other"] >> operator, names), FRAME))
    assert [output.column for output in harness.outputs] == [f"{name}_list" for name in names]
    harness.check(FRAME)


def test_one_column_and_lists():
    renamed = lists(["number"] >> ops.Rename(name="n"), ["n"]) >> ops.Rename(f=lambda name: name[:-5])
    harness = Harness(fit(renamed, FRAME))
    assert [output.column for output in harness.outputs] == ["n"]
    harness.check(FRAME)

from __future__ import annotations

import pytest
from nvtabular import ops

from export.tests.support.harness import lower
from nextitem_export import UnsupportedWorkflow


class Unknown:
    """An operator of no known kind."""


@pytest.mark.parametrize(
    ("operator", "remedy"),
    [
        (ops.HashBucket(5), "equal values get different buckets"),
        (ops.HashedCross(5), "equal values get different buckets"),
        (ops.DifferenceLag("session_id"), "the row before.*compute the difference before"),
        (ops.ColumnSimilarity("left", [[1.0]]), "compute the similarity before"),
        (ops.Dropna(), "drops interactions.*fill null with FillMissing"),
        (ops.DataStats(), "only measures the data: leave it out"),
        (Unknown(), r"the compiler does not know it.*ExportOptions\(features='nvtabular'\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_with_operator_column_and_remedy(operator, remedy):
    with pytest.raises(
        UnsupportedWorkflow, match=rf"{type(operator).__name__} on 'number' cannot be compiled: .*{remedy}"
    ):
        lower(operator, ["number"], level="interaction")

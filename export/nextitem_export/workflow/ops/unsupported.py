"""Operators that are refused, each with the reason and what to do instead."""

from __future__ import annotations

from nvtabular import ops

from ..registry import refuse

_HASH = (
    "NVTabular hashes the value together with its row, so that equal values get different buckets and the trained feature is "
    "noise: use the operator of that name in nextitem_training.operators, which hashes the value alone, or Categorify "
    "(freq_threshold or max_size bound its size)"
)

refuse(ops.HashBucket, _HASH)
refuse(ops.HashedCross, _HASH)
refuse(
    ops.DifferenceLag,
    "it looks at the row before in the order of the data, which a request does not have: compute the difference before "
    "fitting and send it as a column",
)
refuse(ops.ColumnSimilarity, "it is not compiled: compute the similarity before fitting and send it as a column")
refuse(
    ops.Dropna,
    "it drops interactions, which a server must not do unseen: drop them before fitting, or fill null with FillMissing",
)
refuse(ops.DataStats, "it only measures the data: leave it out of the workflow that is served")

"""The codes that features, retrieval steps and requests agree on."""

from __future__ import annotations

# Codes of a categorical feature (NVTabular's Categorify): the vocabulary starts at FIRST_ITEM, most frequent first.
PADDING = 0
NULL = 1
UNKNOWN = 2
FIRST_ITEM = 3

# What the int8 scan adds to the sum of an item that must not come: below any sum of 1,024 products of int8, and small enough
# that 63 of them do not overflow int32.
PENALTY = -(2**25)

# `status` of a session in the response, by the code that the retrieval step gives it.
STATUS = ("ok", "cold", "empty")
OK, COLD, EMPTY = range(3)

"""What the codes of a categorical feature mean, and how a raw null travels.

Categorify reserves the first codes; the vocabulary follows, most frequent value first.
"""

from __future__ import annotations

import numpy as np

PADDING = 0
NULL = 1
UNKNOWN = 2
FIRST_KNOWN = 3

# Null where a type has none of its own (a request over HTTP cannot carry NaN or None).
NULL_STRING = ""
NULL_INT64 = int(np.iinfo(np.int64).min)
NULL_FLOAT32 = float(np.finfo(np.float32).min)

# The score of a slot of the answer that no item fills.
LOWEST_SCORE = float(np.finfo(np.float32).min)

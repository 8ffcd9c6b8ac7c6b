"""Operators for one's own NVTabular workflow where NVTabular 23.8's are noise or cannot be repeated.

With `nextitem_training.workflow` this package is all that imports nvtabular. A saved workflow refers to these classes by
name: it loads where nextitem_training is installed. docs/workflows.md says which operator to use when.
"""

from nextitem_training.operators.groupby import Groupby
from nextitem_training.operators.hash_bucket import HashBucket
from nextitem_training.operators.hashed_cross import HashedCross
from nextitem_training.operators.target_encoding import TargetEncoding

__all__ = ["Groupby", "HashBucket", "HashedCross", "TargetEncoding"]

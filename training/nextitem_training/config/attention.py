"""The kinds of attention: what a body supports, and what a training objective needs."""

from __future__ import annotations

from typing import Literal, get_args

AttentionKind = Literal["bidirectional", "causal", "permutation"]
"""Which position attends to which.

- bidirectional: each position to every position that is not padding.
- causal: each position to itself and to earlier ones.
- permutation: two streams (XLNet; Yang et al., 2019). A query stream, which never sees its own
  position, attends to the positions that the objective names, and the body returns that stream.
"""

ATTENTION_KINDS: tuple[AttentionKind, ...] = get_args(AttentionKind)
"""All kinds of attention."""

"""The kinds of attention: what a body can do, and what a pre-training objective needs."""

from __future__ import annotations

from typing import Literal, get_args

AttentionKind = Literal["bidirectional", "causal", "permutation"]
"""Which step may look at which.

- bidirectional: every step at every real one.
- causal: every step at itself and at earlier ones.
- permutation: two streams (XLNet; Yang et al., 2019). A query stream, which never sees its own
  step, looks at the steps that the objective names, and the body returns that stream.
"""

ATTENTION_KINDS: tuple[AttentionKind, ...] = get_args(AttentionKind)

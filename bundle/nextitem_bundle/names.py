"""Names of the tensors that every bundle has, so that no raw column and no head of a model can have them."""

from __future__ import annotations

REQUEST_OPTIONS = ("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen")
"""Optional tensors of a request."""
ANSWER = ("item_ids", "scores", "status")
"""The tensors of an answer, without those of a model's further heads."""
RESERVED = (*ANSWER, *REQUEST_OPTIONS, "top_k_checked", "codes__0", "scores__1", "status__2")
"""All of them, those between the steps included: the tensors of an ensemble share one space of names."""
RESERVED_PREFIXES = ("feature__", "excluded__", "allowed__", "available__", "head__")
"""No raw column and no head may have a name that begins so."""


def is_reserved(name: str) -> bool:
    """Whether a bundle has a tensor of its own of this name.

    Args:
        name: the name of a raw column or a head.
    """
    return name in RESERVED or name.startswith(RESERVED_PREFIXES)

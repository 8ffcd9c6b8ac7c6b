"""Transformer models of RecTools, which pad on the left up to their session length and have ids of their own.

Nothing of RecTools is imported: the fitted model says all that is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import UnsupportedModel
from ..retrieval.model import session_model
from .rows import Places, by_row

#: The name of the token that hides what is asked, in `extra_token_ids`.
_MASK = "MASK"
#: The least length by which RecTools divides a vector.
_LEAST = 1e-8


def from_rectools(model: Any) -> nn.Module:
    """Adapt a fitted transformer model of RecTools for `export_bundle`: SASRecModel, BERT4RecModel and their like.

    Sessions are padded on the left up to `session_max_len`, as `recommend` has them. A model with a mask token reads one item
    less and the mask behind the newest. Items are those of the fitted model: `recommend` leaves out others, too.

    Args:
        model: the fitted model, or one that was loaded from a checkpoint.

    Returns:
        A model for `export_bundle`.

    Raises:
        UnsupportedModel: the model is not fitted, is no transformer model, or reads times.
    """
    kind = type(model).__name__
    if not hasattr(model, "data_preparator"):
        raise UnsupportedModel(f"the model is {kind}, expected a transformer model of RecTools, such as SASRecModel")
    if not getattr(model, "is_fitted", False):
        raise UnsupportedModel(
            f"{kind} is not fitted: call its fit(dataset), or load_from_checkpoint, before the export"
        )
    preparator = model.data_preparator
    if preparator.add_unix_ts:
        raise UnsupportedModel(
            f"{kind} reads the times of interactions, which no adapter hands on: fit it with relative_time_attention=False, or "
            "put a module around its torch_model and use from_rows"
        )
    ids, rows = preparator.get_known_item_ids().tolist(), preparator.get_known_items_sorted_internal_ids().tolist()
    mask = preparator.extra_token_ids.get(_MASK)
    width = int(preparator.session_max_len) - (mask is not None)
    module = _Module(session_model(model.torch_model), None if mask is None else int(mask))
    return by_row(module, dict(zip(ids, rows, strict=True)), Places("left", width=width), kind)


class _Module(nn.Module):
    """A backbone with the vectors of its item net as a weight, so that the graph need not compute them."""

    embedded: Tensor

    def __init__(self, backbone: nn.Module, mask: int | None) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.mask = mask
        with torch.no_grad():
            self.register_buffer("embedded", self.backbone.item_model.get_all_embeddings().clone())

    def query(self, features: dict[str, Tensor]) -> Tensor:
        """float [B, D]."""
        (items,) = features.values()
        if self.mask is not None:
            items = nn.functional.pad(items, (0, 1), value=self.mask)
        with _plain_attention():
            newest = self.backbone.encode_sessions({"x": items}, self.embedded)[:, -1, :]
        return self._compared(self.backbone.similarity_module.session_tower_forward(newest))

    def item_table(self) -> Tensor:
        """float [rows, D]."""
        return self._compared(self.backbone.similarity_module.item_tower_forward(self.embedded))

    def _compared(self, vectors: Tensor) -> Tensor:
        if getattr(self.backbone.similarity_module, "distance", "dot") != "cosine":
            return vectors
        return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=_LEAST)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention without torch's kernel for inference, which exporters do not know."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)

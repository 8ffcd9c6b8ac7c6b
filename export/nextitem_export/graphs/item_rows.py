"""Between the codes that a bundle counts in and the rows of a model that counts otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nextitem_bundle.runtime.codes import FIRST_ITEM

from .._errors import UnsupportedModel
from ..retrieval.module import has_query, item_table
from ..workflow.item_values import ItemValues


def model_rows(model: nn.Module, features: Mapping[str, str], window: int, item_feature: str, padding: int) -> int:
    """How many rows a model's item table has, or how many scores it gives.

    features: dtype by name. padding: what the model reads of `item_feature` where there is no interaction. Raises
    UnsupportedModel.
    """
    if has_query(model):
        return int(item_table(model).shape[0])
    nothing = {name: torch.zeros(2, window, dtype=getattr(torch, dtype)) for name, dtype in features.items()}
    nothing[item_feature] += padding
    try:
        with torch.no_grad():
            scores = model(nothing)
        return int(scores.shape[1])
    except Exception as error:
        raise UnsupportedModel(
            f"{type(model).__name__}.forward(features) fails for two empty sessions, where '{item_feature}' is {padding} "
            f"throughout: {type(error).__name__}: {error}. Let it give scores [2, V]"
        ) from error


class ByCode(nn.Module):
    """A model that reads codes and has its rows in their order, around one whose item feature holds other values.

    inner: the model. Where `known_alone`, it reads each session without its null and unknown items, which come as padding
    behind the others.
    """

    values: Tensor
    rows: Tensor

    def __init__(self, inner: nn.Module, item_feature: str, items: ItemValues, rows: int) -> None:
        super().__init__()
        self.inner = inner
        self.item_feature = item_feature
        self.known_alone = items.known_alone
        values = torch.from_numpy(items.by_code)
        self.register_buffer("values", values)
        self.register_buffer("rows", torch.where((values >= 0) & (values < rows), values, 0))  # padding may have none

    def read(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features as the model was trained on them, each [B, T]."""
        codes = features[self.item_feature]  # (B, T)
        kept = dict(features)
        if self.known_alone:
            known = codes >= FIRST_ITEM
            width = codes.shape[1]
            place = torch.arange(width, device=codes.device) + torch.where(known, 0, width)
            place, order = torch.topk(
                place, width, dim=1, largest=False, sorted=True
            )  # what is unknown behind the rest
            kept = {name: torch.where(place < width, values.gather(1, order), 0) for name, values in features.items()}
        kept[self.item_feature] = self.values[kept[self.item_feature]]
        return kept


class QueryByCode(ByCode):
    """For a model with `query` and `item_table`."""

    def query(self, features: Mapping[str, Tensor]) -> Tensor:
        """float [B, D]."""
        return self.inner.query(self.read(features))

    def query_and_heads(self, features: Mapping[str, Tensor]) -> Any:
        """The query and the heads by name, float [B, N] each."""
        return self.inner.query_and_heads(self.read(features))

    def item_table(self) -> Tensor:
        """float [V, D] by code."""
        return self.inner.item_table()[self.rows]


class ScoresByCode(ByCode):
    """For a model that gives scores."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """float [B, V] by code."""
        return self.inner(self.read(features))[:, self.rows]

    def forward_and_heads(self, features: Mapping[str, Tensor]) -> Any:
        """The scores and the heads by name, float [B, N] each."""
        scores, heads = self.inner.forward_and_heads(self.read(features))
        return scores[:, self.rows], heads


def by_code(model: nn.Module, item_feature: str, items: ItemValues, rows: int) -> nn.Module:
    """The model as a bundle asks it: itself where it reads codes."""
    if items.are_codes:
        return model
    kind = QueryByCode if has_query(model) else ScoresByCode
    named = type(type(model).__name__, (kind,), {})  # what refusals call it
    return named(model, item_feature, items, rows).eval()

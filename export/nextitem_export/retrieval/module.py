"""The retrieval step: encoded sequences to top-k codes, scores and status, as one torch module that is traced.

A session model may have further heads: what it predicts beside the next item, each an output of its own, FP32 [B, N]. It says
in `head_widths` which it has, by name, and gives them with its query or its scores, from one run of its body: by
`query_and_heads(features) -> (query, {name: [B, N]})`, or `forward_and_heads(features) -> (scores, {name: [B, N]})` where it
has no query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nextitem_bundle.runtime.signature import Head
from nextitem_bundle.runtime.special_ids import COLD, EMPTY, FIRST_ITEM, OK, PADDING
from nextitem_bundle.runtime.steps import ModelFeature as ModelFeature
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .._errors import UnsupportedModel
from .tensors import OUTPUTS, RankedItems, head_tensors


class Retrieval(nn.Module):
    """Ranks the catalogue for each session.

    top_k: the k best of scores [B, V] and their indices, [B, k] each, ties lower index first. ONNX's TopK keeps that promise by
    itself, torch's does not: what writes ONNX puts `torch.topk` here.

    forward takes the features in order, each [B, T] padded on the right with 0, and then the filters: codes that a session
    excludes and those that it allows, int64 [B, P] padded with 0 (a row of 0 alone allows all), and what is available, bool
    [V]. It returns codes int64 [B, K] (best first, exact ties lower code first, 0 where fewer than K items are left), scores
    float32 [B, K], status int32 [B, 1] and, for each of `heads`, float32 [B, N]. Sessions without a known item are ranked by
    `log_popularity` [V], float32, and have the lowest float32 in their heads.
    """

    special: Tensor
    log_popularity: Tensor
    lowest: Tensor

    def __init__(
        self,
        model: nn.Module,
        features: tuple[ModelFeature, ...],
        item_feature: str,
        log_popularity: np.ndarray,
        k: int,
        heads: tuple[Head, ...] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.heads = heads
        self.names = tuple(feature.name for feature in features)
        self.item_feature = item_feature
        self.k = k
        self.top_k = _stable_top_k
        self.scorer = _scorer(model, len(log_popularity), heads)
        # Special codes are no items: the lowest score keeps them behind every item.
        special = np.full(len(log_popularity), False)
        special[:FIRST_ITEM] = True
        self.register_buffer("special", torch.from_numpy(special))
        self.register_buffer("lowest", torch.tensor(LOWEST_FLOAT32))
        self.register_buffer("log_popularity", torch.from_numpy(log_popularity.astype(np.float32)))

    def table(self) -> Tensor | None:
        """The items as vectors, float32 [V, D]; None for a model that gives scores itself."""
        return self.scorer.items().detach().float().contiguous() if isinstance(self.scorer, _QueryScorer) else None

    def ranked(self) -> RankedItems:
        """The items without the model."""
        table = self.table()
        return RankedItems(
            table=None if table is None else table.numpy(),
            log_popularity=self.log_popularity.numpy(),
            features=self.names,
            item_feature=self.item_feature,
            k=self.k,
            heads=self.heads,
            model=type(self.model).__name__,
        )

    @torch.no_grad()
    def queries(self, features: tuple[Tensor, ...]) -> np.ndarray:
        """What sessions that know an item ask for, float32 [S, D]; S is 0 for a model that gives scores itself.

        features: in order, [B, T] each.
        """
        if not isinstance(self.scorer, _QueryScorer):
            return np.zeros((0, 0), np.float32)
        given = dict(zip(self.names, features, strict=True))
        known = (given[self.item_feature] >= FIRST_ITEM).any(dim=1)
        if not known.any():
            return np.zeros((0, self.scorer.items().shape[1]), np.float32)
        query, _ = self.scorer.result({name: values[known] for name, values in given.items()})
        return query.float().numpy()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what forward returns."""
        return (*OUTPUTS, *head_tensors(self.heads))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Codes int64 [B, K], scores float32 [B, K], status int32 [B, 1] and each head, float32 [B, N]."""
        *encoded, excluded, allowed, available = tensors
        features = dict(zip(self.names, encoded, strict=True))
        items = features[self.item_feature]  # (B, T)
        known = (items >= FIRST_ITEM).any(dim=1, keepdim=True)  # (B, 1)
        filled = (items != PADDING).any(dim=1, keepdim=True)
        scores, heads = self.scorer(features)
        scores = torch.where(known, scores, self.log_popularity)  # (B, V)
        scores = self._filtered(scores, excluded, allowed, available)
        best, codes = _top_k(scores, self.k, self.top_k)
        valid = best > self.lowest
        codes = torch.where(valid, codes, PADDING)
        best = torch.where(valid, best, self.lowest)  # a model may give -inf or NaN, which JSON has not
        status = torch.where(filled, torch.where(known, OK, COLD), EMPTY)
        heads = tuple(null_where_unknown(value, known, self.lowest) for value in heads)
        return codes, best, status.to(torch.int32), *heads

    def _filtered(self, scores: Tensor, excluded: Tensor, allowed: Tensor, available: Tensor) -> Tensor:
        """Scores [B, V], the lowest for what must not be recommended. Code 0, the padding of both lists, never is."""
        # scatter of a Python number does not trace.
        marks = torch.ones_like(allowed, dtype=torch.bool)
        listed = torch.zeros_like(scores, dtype=torch.bool).scatter(1, allowed, marks)  # (B, V)
        free = (allowed == PADDING).all(dim=1, keepdim=True)  # (B, 1)
        open_ = (listed | free) & (available & ~self.special)
        barred = torch.zeros_like(excluded, dtype=scores.dtype) + self.lowest
        return torch.where(open_, scores, self.lowest).scatter(1, excluded, barred)


class _QueryScorer(nn.Module):
    """scores = query @ item_table.T, for a model with both."""

    table: Tensor

    def __init__(self, model: nn.Module, heads: tuple[Head, ...]) -> None:
        super().__init__()
        self.model: Any = model
        self.heads = heads
        table = item_table(model)
        # A table that is a weight as it stands is read in place, so that the graph holds it once; a computed one is
        # computed once, here.
        self.computed = not any(table is parameter for parameter in model.parameters())
        if self.computed:
            self.register_buffer("table", table.detach().clone())

    def result(self, features: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The query [B, D], and each head, float32 [B, N]."""
        query, heads = with_heads(self.model, features, self.heads) if self.heads else (self.model.query(features), ())
        width = self.items().shape[1]
        if not isinstance(query, Tensor) or query.dim() != 2 or query.shape[1] != width:
            raise UnsupportedModel(
                f"{type(self.model).__name__}.query(features) gives {_shown(query)}, expected the query [B, {width}], as wide "
                f"as item_table(){_remedy(query)}"
            )
        return query, heads

    def items(self) -> Tensor:
        """float [V, D]."""
        return self.table if self.computed else self.model.item_table()

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        query, heads = self.result(features)
        return (query @ self.items().t()).float(), heads


class _DirectScorer(nn.Module):
    """A model whose forward gives the scores [B, V] itself."""

    def __init__(self, model: nn.Module, cardinality: int, heads: tuple[Head, ...]) -> None:
        super().__init__()
        self.model = model
        self.cardinality = cardinality
        self.heads = heads

    def result(self, features: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The scores, float32 [B, V], and each head, float32 [B, N]."""
        scores, heads = with_heads(self.model, features, self.heads) if self.heads else (self.model(features), ())
        if not isinstance(scores, Tensor) or scores.dim() != 2 or scores.shape[1] != self.cardinality:
            raise UnsupportedModel(
                f"{type(self.model).__name__}.forward(features) gives {_shown(scores)}, expected scores "
                f"[B, {self.cardinality}], one for each code of the workflow's vocabulary (padding, null and unknown "
                f"included){_remedy(scores)}"
            )
        return scores.float(), heads

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.result(features)


def _scorer(model: nn.Module, cardinality: int, heads: tuple[Head, ...]) -> _QueryScorer | _DirectScorer:
    if not has_query(model):
        return _DirectScorer(model, cardinality, heads)
    rows = item_table(model).shape[0]
    if rows != cardinality:
        raise UnsupportedModel(
            f"{type(model).__name__}.item_table() has {rows} rows, the workflow's vocabulary has {cardinality} codes "
            "(padding, null and unknown included): use the workflow that the model was trained with"
        )
    return _QueryScorer(model, heads)


def item_table(model: nn.Module) -> Tensor:
    """The model's table of items [V, D]. Raises UnsupportedModel for anything else."""
    table = cast("Any", model).item_table()
    if not isinstance(table, Tensor) or table.dim() != 2:
        more = ": give its weight" if isinstance(table, nn.Embedding) else _remedy(table)
        raise UnsupportedModel(
            f"{type(model).__name__}.item_table() gives {_shown(table)}, expected a tensor [V, D], one row for each code{more}"
        )
    return table


def _shown(result: object) -> str:
    """What a model gave: a tensor's shape, or what else it is."""
    if isinstance(result, Tensor):
        return str([int(size) for size in result.shape])
    if isinstance(result, Mapping):
        return f"{type(result).__name__} with {', '.join(map(repr, result))}"
    return f"{type(result).__name__} of {len(result)}" if isinstance(result, (tuple, list)) else type(result).__name__


def _remedy(result: object) -> str:
    several = isinstance(result, (Mapping, tuple, list))
    return ": put a module around the model that gives the one which is meant" if several else ""


def has_query(model: nn.Module) -> bool:
    """Whether a model has a query and a table of items, else it gives scores. Raises UnsupportedModel for a query alone."""
    if hasattr(model, "query") and not hasattr(model, "item_table"):
        raise UnsupportedModel(
            f"{type(model).__name__} has query() but no item_table(): give it item_table() -> [V, D], or only a "
            "forward(features) -> scores [B, V]"
        )
    return hasattr(model, "query")


TopK = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def _top_k(scores: Tensor, k: int, top_k: TopK) -> tuple[Tensor, Tensor]:
    """The k best of scores [B, V], best first, ties lower index first; filled with the lowest score beyond V."""
    reachable = min(k, scores.shape[1])
    best, codes = top_k(scores, reachable)
    missing = k - reachable
    if missing:
        best = nn.functional.pad(best, (0, missing), value=LOWEST_FLOAT32)
        codes = nn.functional.pad(codes, (0, missing), value=PADDING)
    return best, codes


def _stable_top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk breaks ties at random: takes its k-th best score and picks among those equal to it by index."""
    scores = torch.nan_to_num(scores, nan=LOWEST_FLOAT32)  # NaN equals nothing, not even the k-th best
    least = torch.topk(scores, k).values[:, -1:]  # (B, 1)
    above = scores > least
    tied = scores == least
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (tied & (tied.cumsum(dim=1) <= room))
    codes = chosen.nonzero()[:, 1].reshape(-1, k)  # by rising index, k in every row
    best, order = torch.sort(scores.gather(1, codes), dim=1, descending=True, stable=True)
    return best, codes.gather(1, order)


def heads_of(model: nn.Module) -> tuple[Head, ...]:
    """The heads that a model declares, () for one that knows of none. Raises UnsupportedModel."""
    widths: Any = getattr(model, "head_widths", None) or {}
    kind = type(model).__name__
    if not isinstance(widths, Mapping) or any(type(width) is not int or width < 1 for width in widths.values()):
        raise UnsupportedModel(
            f"{kind}.head_widths is {widths!r}, expected a dict from each head's name to how many values it has, 1 or more"
        )
    for name in widths:
        if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise UnsupportedModel(
                f"{kind} has a head named {name!r}, which names an output of the bundle: expected letters, digits and "
                "underscores, a letter first"
            )
    method = _method(model)
    result = "query [B, D]" if hasattr(model, "query") else "scores [B, V]"
    if widths and not hasattr(model, method):
        raise UnsupportedModel(
            f"{kind} has the heads {', '.join(widths)} in head_widths but no {method}(): give it {method}(features) -> "
            f"({result}, {{name: [B, N]}}), or leave head_widths away"
        )
    return tuple(Head(name, width) for name, width in widths.items())


def with_heads(
    model: nn.Module, features: Mapping[str, Tensor], heads: Sequence[Head]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The query [B, D] or the scores [B, V], and each head, float32 [B, N], by one run of the model.

    Raises UnsupportedModel where it gives other heads than it declares.
    """
    method = _method(model)
    result, values = getattr(model, method)(features)
    kind = f"{type(model).__name__}.{method}(features)"
    if set(values) != {head.name for head in heads}:
        raise UnsupportedModel(
            f"{kind} gives the heads {', '.join(values) or '(none)'}, head_widths names {', '.join(h.name for h in heads)}: "
            "let both name the same"
        )
    for head in heads:
        value = values[head.name]
        if not isinstance(value, Tensor) or value.dim() != 2 or value.shape[1] != head.width:
            what = [int(size) for size in value.shape] if isinstance(value, Tensor) else type(value).__name__
            raise UnsupportedModel(
                f"{kind} gives '{head.name}' as {what}, expected [B, {head.width}] as in head_widths"
            )
    return result, tuple(values[head.name].float() for head in heads)


def null_where_unknown(value: Tensor, known: Tensor, lowest: Tensor) -> Tensor:
    """A head [B, N], the lowest FP32 for sessions without a known item, bool [B, 1], and for what is no number."""
    return torch.where(known & (value.abs() < torch.inf), value, lowest)


def _method(model: nn.Module) -> str:
    return "query_and_heads" if hasattr(model, "query") else "forward_and_heads"

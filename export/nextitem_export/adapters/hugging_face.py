"""Language models of Hugging Face Transformers over items: masked ones (BERT) and causal ones (GPT-2).

Each item is a token, and a session a sentence. Nothing of Transformers is imported.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import UnsupportedModel
from ..retrieval.model import session_model
from .rows import Places, RowOf, by_row

#: What stands in the places without an item: no token has it, so the attention mask is made of it.
_NOTHING = -1
#: Settings by which attention sees less than all that came before.
_PARTIAL = ("sliding_window", "attention_chunk_size")


def from_hugging_face(
    model: Any, rows: RowOf, *, mask_row: int | None = None, padding: str = "right", window: int | None = None
) -> nn.Module:
    """Adapt a language model over items for `export_bundle`.

    A masked model (`…ForMaskedLM`) is asked for the mask behind the newest item, a causal one (`GPT2LMHeadModel`) for what
    follows the newest item. Padding has no attention. Where the scores are a product with the output embedding, the model is
    exported as a query and an item table, in which the embedding's bias is one more column.

    Args:
        model: the trained model, which takes `input_ids` and `attention_mask`.
        rows: from each raw item id to its token.
        mask_row: the mask's token, for a masked model.
        padding: the side on which the sessions were padded in training, `right` or `left`.
        window: how many items the model reads at most. None: as many as the bundle's window.

    Returns:
        A model for `export_bundle`.

    Raises:
        UnsupportedModel: the model is no language model, or `mask_row` does not fit it.
    """
    kind = type(model).__name__
    if not hasattr(model, "get_output_embeddings"):
        raise UnsupportedModel(
            f"the model is {kind}, expected a language model of Transformers, such as BertForMaskedLM or GPT2LMHeadModel: for "
            "others put a module around the model and use from_rows"
        )
    masked = kind.endswith("ForMaskedLM")
    if masked and mask_row is None:
        raise UnsupportedModel(
            f"{kind} predicts masked tokens: give mask_row, the token that stood for the mask in training"
        )
    if not masked and mask_row is not None:
        raise UnsupportedModel(
            f"mask_row is {mask_row}, and {kind} predicts the next token, not masked ones: leave mask_row away"
        )
    copied: Any = session_model(model)
    copied.config.use_cache = False
    whole = _Scores(copied, mask_row, left=padding == "left")
    parts = _Query.of(whole)
    module = whole if parts is None else parts
    adapted = by_row(module, rows, Places(padding, _NOTHING, window), kind)
    if mask_row in adapted.rows.values():
        raise UnsupportedModel(
            f"mask_row is {mask_row}, and an item of rows has it: give the token that stood for the mask"
        )
    return adapted


class _Tokens(nn.Module):
    """Asks a language model for one place of each session."""

    def __init__(self, model: nn.Module, mask: int | None, *, left: bool) -> None:
        super().__init__()
        self.model: Any = model
        self.mask = mask
        self.left = left
        config: Any = model.config
        self.padding = config.pad_token_id if getattr(config, "pad_token_id", None) is not None else 0
        self.longest: int | None = getattr(config, "max_position_embeddings", None)
        self.square = (
            mask is None and not any(getattr(config, name, None) for name in _PARTIAL) and self._takes_square()
        )

    def asked(self, items: Tensor) -> Tensor:
        """What the model gives for the place that is asked, float [B, N]. items: int64 [B, W], -1 where there is none."""
        width = int(items.shape[1])
        length = (items != _NOTHING).sum(dim=1, keepdim=True)  # (B, 1)
        end = torch.full_like(length, width) if self.left else length
        tokens = items.masked_fill(items == _NOTHING, self.padding)
        if self.mask is not None:
            width += 1
            tokens = nn.functional.pad(tokens, (0, 1), value=self.padding)
        self._check_width(width)
        place = torch.arange(width, device=items.device)
        if self.mask is not None:
            tokens = tokens.masked_fill(place == end, self.mask)
        asked = end if self.mask is not None else (end - 1).clamp(min=0)
        first = torch.minimum(end - length, asked)  # an empty session has one place
        seen = (place >= first) & (place <= asked)  # (B, W)
        given = self._given(tokens, seen, square=self.square)
        return given.gather(1, asked[..., None].expand(-1, 1, given.shape[2])).squeeze(1)

    def _given(self, tokens: Tensor, seen: Tensor, *, square: bool) -> Tensor:
        """float [B, W, N]. square: with the mask of each place, which spares causal models what exporters cannot follow."""
        mask = seen.long()
        if square:
            place = torch.arange(int(tokens.shape[1]), device=tokens.device)
            before = seen[:, None, None, :] & (place <= place[:, None])  # (B, 1, W, W)
            mask = (1 - before.float()) * torch.finfo(torch.float32).min
        return self.model(input_ids=tokens, attention_mask=mask, return_dict=False)[0]

    def _takes_square(self) -> bool:
        """Whether the model understands a mask of each place as one that it makes itself."""
        seen = torch.tensor([[True, True, True], [True, True, False]])
        try:
            tokens = torch.arange(6).reshape(2, 3) % int(self.model.config.vocab_size)
            with torch.no_grad():
                square, plain = (self._given(tokens, seen, square=square) for square in (True, False))
        except Exception:  # noqa: BLE001  older ones take a mask [B, W] alone
            return False
        return torch.allclose(square[seen], plain[seen], rtol=1e-4, atol=1e-5)

    def _check_width(self, width: int) -> None:
        if self.longest is not None and width > self.longest:
            most = self.longest - (self.mask is not None)
            raise UnsupportedModel(
                f"{type(self.model).__name__} has {self.longest} positions, and sessions take {width} with the mask, if it has "
                f"one: give window={most} to from_hugging_face, or let the workflow keep {most} items, ops.ListSlice(-{most})"
            )


class _Scores(_Tokens):
    """A model by its scores."""

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """float [B, rows]."""
        (items,) = features.values()
        return self.asked(items)


class _Query(_Tokens):
    """A model without its output embedding, whose input is the query."""

    def __init__(self, model: nn.Module, embedding: nn.Linear, mask: int | None, *, left: bool) -> None:
        super().__init__(model, mask, left=left)
        self.embedding = embedding

    @classmethod
    def of(cls, whole: _Scores) -> _Query | None:
        """The same model so, None where that gives other scores."""
        model = copy.deepcopy(whole.model)
        embedding = model.get_output_embeddings()
        names = [name for name, module in model.named_modules() if module is embedding]
        if not isinstance(embedding, nn.Linear) or not names:
            return None
        model.set_submodule(names[0], nn.Identity())
        items = torch.arange(6).reshape(2, 3) % len(embedding.weight)
        items[1, 0 if whole.left else 2] = _NOTHING
        try:
            parts = cls(model, embedding, whole.mask, left=whole.left)
            with torch.no_grad():
                right, own = whole({"": items}), parts.query({"": items}) @ parts.item_table().T
        except Exception:  # noqa: BLE001  what reads the embedding itself misses it
            return None
        return parts if own.shape == right.shape and torch.allclose(own, right, rtol=1e-4, atol=1e-5) else None

    def query(self, features: dict[str, Tensor]) -> Tensor:
        """float [B, D], behind it 1 for the bias."""
        (items,) = features.values()
        query = self.asked(items)
        return query if self.embedding.bias is None else nn.functional.pad(query, (0, 1), value=1.0)

    def item_table(self) -> Tensor:
        """float [rows, D], behind it the bias."""
        weight, bias = self.embedding.weight, self.embedding.bias
        return weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)

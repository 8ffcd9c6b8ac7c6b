"""Sequential models of RecBole (Zhao et al. 2021), which read items alone and pad on the right with row 0.

Nothing of RecBole is imported: the model and the data set say all that is needed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._errors import UnsupportedModel
from ..retrieval.model import session_model
from .rows import Places, by_row

#: What a model of RecBole has that reads sessions.
_NEEDED = ("ITEM_ID", "ITEM_SEQ", "ITEM_SEQ_LEN", "max_seq_length", "full_sort_predict")


def from_recbole(model: Any, dataset: Any) -> nn.Module:
    """Adapt a trained sequential model of RecBole for `export_bundle`.

    SASRec, GRU4Rec, NARM and others whose scores are `forward(item_seq, item_seq_len)` times `item_embedding` are exported
    as a query and an item table, other models that read items alone by the scores of their `full_sort_predict`. A session has
    `MAX_ITEM_LIST_LENGTH` places, as in training.

    Args:
        model: the trained model.
        dataset: the data set that it was trained on, whose `field2id_token` says which item has which row.

    Returns:
        A model for `export_bundle`.

    Raises:
        UnsupportedModel: the model is no sequential one, or reads more than items.
    """
    missing = [name for name in _NEEDED if not hasattr(model, name)]
    if missing:
        raise UnsupportedModel(
            f"{type(model).__name__} has no {', '.join(missing)}, expected a trained sequential model of RecBole, such as "
            "SASRec: give the model itself"
        )
    copied: Any = session_model(model)
    copied.device = torch.device("cpu")  # where some models put what they compute
    tokens = dataset.field2id_token[copied.ITEM_ID].tolist()  # the first is padding's
    module = _Query(copied) if _is_query(copied, len(tokens)) else _Scores(copied)
    rows = {str(token): row for row, token in enumerate(tokens) if row}
    return by_row(module, rows, Places(width=int(copied.max_seq_length)), type(model).__name__)


class _Query(nn.Module):
    """A model whose scores are a query times its embedding of items."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def query(self, features: dict[str, Tensor]) -> Tensor:
        """float [B, D]."""
        (items,) = features.values()
        return self.model(items, _length(items))

    def item_table(self) -> Tensor:
        """float [rows, D]."""
        return self.model.item_embedding.weight


class _Scores(nn.Module):
    """A model that computes scores in its own way."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """float [B, rows]."""
        (items,) = features.values()
        return self.model.full_sort_predict(_asked(self.model, items))


def _length(items: Tensor) -> Tensor:
    """int64 [B], of an empty session 1: the models read the place before it."""
    return (items != 0).sum(dim=1).clamp(min=1)


def _asked(model: Any, items: Tensor) -> dict[str, Tensor]:
    return {model.ITEM_SEQ: items, model.ITEM_SEQ_LEN: _length(items)}


def _is_query(model: Any, rows: int) -> bool:
    """Whether a query times the embedding gives what `full_sort_predict` does, for some sessions.

    Raises UnsupportedModel where it gives nothing for sessions of items.
    """
    place = torch.arange(int(model.max_seq_length))
    items = (place + torch.arange(3)[:, None]) % (rows - 1) + 1
    items[0, 1:] = items[1, 2:] = 0  # of 1 and 2 items, and full
    kind = type(model).__name__
    with torch.no_grad():
        try:
            right = model.full_sort_predict(_asked(model, items))
        except Exception as error:
            raise UnsupportedModel(
                f"{kind}.full_sort_predict fails for sessions that have {model.ITEM_SEQ} and {model.ITEM_SEQ_LEN} alone: "
                f"{type(error).__name__}: {error}. Give a model that reads nothing else, or put a module around this one and "
                "use from_rows"
            ) from error
        if tuple(right.shape) != (len(items), rows):
            raise UnsupportedModel(
                f"{kind}.full_sort_predict gives {list(right.shape)} for {len(items)} sessions, and the data set has {rows} "
                f"items with padding: give the data set that the model was trained on"
            )
        try:
            own = model(items, _length(items)) @ model.item_embedding.weight.T
        except Exception:  # noqa: BLE001  a forward of other arguments, or no such embedding
            return False
    return own.shape == right.shape and torch.allclose(own, right, rtol=1e-4, atol=1e-5)

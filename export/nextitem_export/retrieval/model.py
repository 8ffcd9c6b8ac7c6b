"""What came as the session model: taken out of what training wraps around it, copied and checked before it is traced.

A model that counts items otherwise than a bundle's codes is put behind the codes (`by_code`).
"""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from nextitem_bundle.runtime.special_ids import FIRST_ITEM

from .._errors import UnsupportedModel
from ..model_files.file import opened
from ..workflow.item_values import ItemValues
from .module import has_query, item_table

#: Where each wrapper keeps the module: torch.compile's class is private, and known by what it holds.
_COMPILED, _COMPILED_FUNCTION = "_orig_mod", "_torchdynamo_orig_callable"
_WRAPPERS = (DataParallel, DistributedDataParallel, AveragedModel)


def session_model(model: object) -> nn.Module:
    """A copy of a model in eval mode on the CPU, without wrappers, nothing in it compiled; around a file, what runs it.

    Raises UnsupportedModel where it is no module and no file of one, has no weights, cannot be copied, does not compute in
    float32, or holds NaN.
    """
    model = opened(_unwrapped(model) if isinstance(model, nn.Module) else model)
    if not isinstance(model, nn.Module):
        raise UnsupportedModel(f"the model is {_what(model)}")
    kind = type(model).__name__
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UnsupportedModel(f"{kind} is on the device 'meta' and has no weights: load them before the export")
    _check_dtype(model, kind)
    _check_numbers(model, kind)
    try:
        copied = copy.deepcopy(model).cpu().eval()
    except Exception as error:
        raise UnsupportedModel(
            f"{kind} cannot be copied, which keeps the export from changing it: {type(error).__name__}: {error}. Let it hold "
            "weights and settings alone; detach() tensors that it keeps from a run"
        ) from error
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if (inner := _unwrapped(child)) is not child:
                setattr(module, name, inner)
    for module in copied.modules():
        _interpret_methods(module)
    return copied


def _what(model: object) -> str:
    """What came in place of a module, and what to do."""
    if isinstance(model, type):
        return f"the class {model.__name__}, expected a module with its weights: give {model.__name__}(…)"
    if isinstance(model, Mapping):
        held = next((key for key, value in model.items() if isinstance(value, nn.Module)), None)
        if held is not None:
            return f"a dict whose '{held}' is the module: give that"
        names = ", ".join(f"'{key}'" for key in list(model)[:3])
        return (
            f"a dict of {len(model)} entries ({names}, …), as a state_dict or a checkpoint, which has weights without the "
            "module: build the module, load them with its load_state_dict(), and give the module"
        )
    return f"of type {type(model).__name__}, expected a torch.nn.Module with query() and item_table(), or a forward()"


def _unwrapped(module: nn.Module) -> nn.Module:
    while True:
        if _COMPILED in dict(module.named_children()):
            module = module.get_submodule(_COMPILED)
        elif isinstance(module, _WRAPPERS):
            module = module.module
        else:
            return module


def _check_dtype(model: nn.Module, kind: str) -> None:
    other = {
        name: str(parameter.dtype).removeprefix("torch.")
        for name, parameter in model.named_parameters()
        if parameter.dtype != torch.float32 and (parameter.is_floating_point() or parameter.is_complex())
    }
    if other:
        name, dtype = next(iter(other.items()))
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise UnsupportedModel(
            f"the parameters of {kind} are {dtype} ({name}{more}), and a bundle computes in float32: give model.float(), "
            "and hold the bundle's answers against what that gives offline"
        )


def _check_numbers(model: nn.Module, kind: str) -> None:
    """Infinite ones pass: a bias may bar an item by -inf."""
    broken = [name for name, parameter in model.named_parameters() if bool(parameter.isnan().any())]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UnsupportedModel(
            f"the parameters of {kind} hold NaN ({broken[0]}{more}): its training diverged. Give a checkpoint from before "
            "that, or train again, with a lower learning rate"
        )


def _interpret_methods(module: nn.Module) -> None:
    """Put what torch.compile was given in the place of methods that it compiled, which cannot be traced."""
    for name in [name for name, value in vars(module).items() if hasattr(value, _COMPILED_FUNCTION)]:
        delattr(module, name)  # set on the module, bound to the original: the class has the method
    for owner in reversed(type(module).__mro__):
        for name, value in vars(owner).items():
            function: Any = getattr(value, _COMPILED_FUNCTION, None)
            if isinstance(function, types.FunctionType) and getattr(type(module), name, None) is value:
                setattr(module, name, types.MethodType(function, module))


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
        self.inner: Any = inner
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

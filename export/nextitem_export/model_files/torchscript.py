"""A session model as TorchScript: a module around it that takes the features by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import UnsupportedModel


def load_script(path: Path) -> torch.jit.ScriptModule:
    """Load a TorchScript file. Raises UnsupportedModel for another file, of which nothing is unpickled."""
    try:
        return torch.jit.load(str(path), map_location="cpu")
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(
            f"{path} is no TorchScript file ({reason}). What torch.save wrote would have to be unpickled: load it yourself and "
            "give the module, or write TorchScript with torch.jit.save(torch.jit.trace(module, examples), path)"
        ) from error


class ScriptScores(nn.Module):
    """TorchScript that takes the features in the order of its arguments, or as one dict, and gives scores.

    inputs: the workflow's output for each argument that has another name; None where nothing was told of them.
    """

    feature_names: tuple[str, ...] | None

    def __init__(self, script: torch.jit.ScriptModule, inputs: Mapping[str, str] | None) -> None:
        super().__init__()
        self.script: Any = script
        schema: Any = self.script.forward.schema
        required = [argument for argument in schema.arguments[1:] if not argument.has_default_value()]
        self.takes_dict = len(required) == 1 and required[0].type.kind() == "DictType"
        self.arguments = () if self.takes_dict else tuple(argument.name for argument in required)
        told = getattr(script, "feature_names", None)
        self.feature_names = tuple(told) if told else None
        if inputs is not None:
            unknown = [name for name in inputs if name not in self.arguments]
            if unknown:
                raise UnsupportedModel(
                    f"inputs names {', '.join(unknown)}, and the arguments of the TorchScript are "
                    f"{', '.join(self.arguments) or 'one dict'}: name these"
                )
            self.feature_names = tuple(inputs.get(name, name) for name in self.arguments)

    def features_among(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """What it reads of a workflow's outputs where nobody said so. Raises UnsupportedModel where that is not certain."""
        if self.takes_dict:
            return tuple(outputs)
        if set(self.arguments) <= set(outputs):
            return self.arguments
        if len(self.arguments) == len(outputs) == 1:
            return tuple(outputs)
        first = f"{{'{self.arguments[0]}': '{outputs[0]}', …}}" if self.arguments and outputs else "{…}"
        raise UnsupportedModel(
            f"{type(self).__name__} takes {len(self.arguments)} lists ({', '.join(self.arguments)}), and the workflow returns "
            f"{', '.join(outputs)}: name those that are meant as features, in the order of the arguments, or give "
            f"ModelFile(…, inputs={first})"
        )

    def asked(self, features: Mapping[str, Tensor]) -> Any:
        """What the TorchScript gives for features in the order of its arguments, each [B, T]."""
        if self.takes_dict:
            return self.script(dict(features))
        if len(features) != len(self.arguments):
            raise UnsupportedModel(
                f"{type(self).__name__} takes {len(self.arguments)} lists ({', '.join(self.arguments)}), and features names "
                f"{', '.join(features)}: name one for each argument, in their order"
            )
        return self.script(*features.values())

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """float [B, V]."""
        return self.asked(features)


class ScriptQuery(ScriptScores):
    """The same for TorchScript that gives queries, with the table that they are compared with, float32 [V, D]."""

    def __init__(self, script: torch.jit.ScriptModule, inputs: Mapping[str, str] | None, table: Tensor) -> None:
        super().__init__(script, inputs)
        self.table = nn.Parameter(table, requires_grad=False)

    def query(self, features: Mapping[str, Tensor]) -> Tensor:
        """float [B, D]."""
        return self.asked(features)

    def item_table(self) -> Tensor:
        """float32 [V, D]."""
        return self.table

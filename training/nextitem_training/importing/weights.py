"""The weights of a model that another library trained, by name, and which of them were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from nextitem_training.errors import CheckpointError

_HEAD = "heads.0."
#: Where a checkpoint of more than weights has them.
_NESTED = ("state_dict", "model_state_dict", "model")
#: A head's parts that are read elsewhere, under names of their own, or say nothing of answers.
_AGAIN = (".embeddings.", ".masking.", ".item_embedding_table.", ".sampler.", ".metrics.", ".loss.")
_BODY_AGAIN = (".masking.", ".prepare_module.")


class Weights:
    """Weights by name, of the first head alone and without its name, each under one name."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = dict(tensors)
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        """The weight, which counts as read from here on."""
        self._read.add(name)
        return self._tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape; that does not count as reading it."""
        return tuple(self._tensors[name].shape)

    def below(self, prefix: str) -> list[str]:
        """The names that begin so, without the beginning."""
        return [name.removeprefix(prefix) for name in self._tensors if name.startswith(prefix)]

    def children(self, prefix: str) -> list[str]:
        """The next part of these names, each once, in their order."""
        return list(dict.fromkeys(name.split(".")[0] for name in self.below(prefix)))

    def ignore(self, *names: str) -> None:
        """Count weights as read that say nothing of answers."""
        self._read.update(names)

    def unread(self) -> Iterator[str]:
        """What nobody read."""
        return (name for name in self._tensors if name not in self._read)


def read_weights(path: str | Path) -> Weights:
    """Reads a state dict of `transformers4rec.torch.Model`: safetensors by its ending, otherwise torch's own, weights only.

    Raises CheckpointError where the file holds something else.
    """
    path = Path(path)
    tensors = _tensors(path)
    first = next((name for name in tensors if _HEAD in name), None)
    if first is None:
        some = ", ".join(list(tensors)[:3]) or "nothing"
        raise CheckpointError(
            f"{path} holds {some} …; expected is the state dict of a transformers4rec.torch.Model, whose names begin with "
            f"'{_HEAD}'. docs/migrating/transformers4rec.md has the script that writes it."
        )
    before = first[: first.index(_HEAD)]  # a Trainer's, or Lightning's
    named = {name.removeprefix(before): tensor for name, tensor in tensors.items() if name.startswith(before)}
    others = sorted(name for name in named if name.startswith("heads.") and not name.startswith(_HEAD))
    if others:
        raise CheckpointError(
            f"The model has several heads ({others[0]} …), of which one can be taken over; export it as it is."
        )
    own = {name.removeprefix(_HEAD): tensor.detach() for name, tensor in named.items() if name.startswith(_HEAD)}
    return Weights({name: tensor for name, tensor in own.items() if not _is_again(name)})


def _tensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read as weights alone ({type(error).__name__}: {first}). "
            "Nothing else is unpickled here: write the state dict by the script in docs/migrating/transformers4rec.md, in the "
            "environment that has the model's classes."
        ) from error
    for name in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise CheckpointError(
            f"{path} holds {type(found).__name__}, expected is a state dict: names and tensors. "
            "docs/migrating/transformers4rec.md has the script that writes it."
        )
    return found


def _is_again(name: str) -> bool:
    parts = _BODY_AGAIN if name.startswith("body.") else _AGAIN
    return any(part in f".{name}" for part in parts)

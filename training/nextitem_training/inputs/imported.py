"""The input block of a model that another library trained, [imported] of the configuration; as Transformers4Rec's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import nn

from nextitem_training.config.imported import ImportedConfig
from nextitem_training.config.inputs import CONCAT, Aggregation
from nextitem_training.inputs.aggregation import AGGREGATIONS
from nextitem_training.inputs.soft_one_hot import SoftOneHot
from nextitem_training.schema import CATEGORICAL, SessionSchema

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
}


def layers(width: int, widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers from `width` on, each with the activation behind it; the input as it is where there are none."""
    sizes = [width, *widths]
    pairs = itertools.pairwise(sizes)
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), _ACTIVATIONS[activation]()) for a, b in pairs))


def _without_nan(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values.isnan(), torch.zeros_like(values), values)


class ImportedInputs(nn.Module):
    """One vector a feature, of any width, joined and projected.

    Attributes:
        width: E, of what `forward` gives.
        pretrained: none, as there are no vectors beside the embeddings.
    """

    pretrained = None

    def __init__(self, config: ImportedConfig, aggregation: Aggregation, schema: SessionSchema) -> None:
        super().__init__()
        self.item_feature = schema.item_feature
        sizes = {f.name: int(f.cardinality or 0) for f in schema.features if f.kind == CATEGORICAL}
        self.categorical = [*sizes]
        self.continuous = [f.name for f in schema.features if f.kind != CATEGORICAL]
        self.order = config.order
        pairs = zip(sizes.values(), config.widths, strict=True)
        self.embeddings = nn.ModuleList(nn.Embedding(count, width) for count, width in pairs)
        widths = [*config.widths]
        self.numbers: nn.Module | None = None
        self.mixtures = nn.ModuleList()
        if config.number_layers:
            self.numbers = layers(len(self.continuous), config.number_layers, config.number_activation)
            widths.append(config.number_layers[-1])
        elif config.soft_counts:
            soft = zip(config.soft_counts, config.soft_widths, strict=True)
            self.mixtures.extend(SoftOneHot(count, width, 0.0) for count, width in soft)
            widths += config.soft_widths
        else:
            widths += [1] * len(self.continuous)
        self.norms = nn.ModuleDict({str(place): nn.LayerNorm(widths[place]) for place in config.normalized})
        ordered = [widths[place] for place in self.order]
        self.join: nn.Module | None = None  # side by side
        if aggregation != CONCAT:
            item = self.order.index(self.categorical.index(self.item_feature))
            self.join = AGGREGATIONS.get(aggregation)(ordered, item, ordered[0])
        joined = sum(ordered) if self.join is None else ordered[0]
        self.projection = layers(joined, config.projection, config.projection_activation)
        self.width = config.projection[-1] if config.projection else joined

    def item_table(self) -> torch.Tensor:
        """The items as they are embedded: float32 [V, width of the item's embedding]."""
        return self._item_embedding.weight

    def item_rows(self, items: torch.Tensor) -> torch.Tensor:
        """Those of some codes: int64 [...] → float32 [..., width of the item's embedding]."""
        return self._item_embedding(items)

    def forward(self, features: Mapping[str, torch.Tensor], *, swapped: bool = True) -> torch.Tensor:
        """Features [B, T] by name → float32 [B, T, E]; NaN in a number counts as 0. swapped: unused."""
        vectors = [embedding(features[name]) for name, embedding in zip(self.categorical, self.embeddings, strict=True)]
        values = [_without_nan(features[name].float())[..., None] for name in self.continuous]
        if self.numbers is not None:
            vectors.append(self.numbers(torch.cat(values, dim=-1)))
        elif len(self.mixtures):
            vectors += [mixture(value[..., 0]) for mixture, value in zip(self.mixtures, values, strict=True)]
        else:
            vectors += values
        for place, norm in self.norms.items():
            vectors[int(place)] = norm(vectors[int(place)])
        ordered = [vectors[place] for place in self.order]
        return self.projection(torch.cat(ordered, dim=-1) if self.join is None else self.join(ordered))

    def fold(self) -> None:
        """Nothing to fold."""

    @property
    def _item_embedding(self) -> nn.Embedding:
        return cast("nn.Embedding", self.embeddings[self.categorical.index(self.item_feature)])

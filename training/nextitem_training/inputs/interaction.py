"""Turns the features of an interaction into one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from nextitem_training.config import InputsConfig, ModelConfig
from nextitem_training.config.inputs import AS_INPUT, AS_ITEM
from nextitem_training.inputs.aggregation import AGGREGATIONS
from nextitem_training.inputs.content import ItemContent
from nextitem_training.inputs.pretrained import PretrainedItems
from nextitem_training.inputs.soft_one_hot import SoftOneHot
from nextitem_training.inputs.swap_noise import swap
from nextitem_training.schema import CATEGORICAL, SessionSchema
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


class InteractionInputs(nn.Module):
    """One embedding per categorical feature, one projection of all numbers, one mixture per soft one-hot feature, the projected
    pretrained vector: joined to width D. What the items table says of an item is part of the item's own vector."""

    def __init__(
        self,
        config: ModelConfig,
        schema: SessionSchema,
        inputs: InputsConfig | None = None,
        id_dropout: float = 0.0,
    ) -> None:
        """id_dropout: see [items]. Raises ConfigError where the features are too few for the aggregation."""
        super().__init__()
        inputs = inputs or InputsConfig()
        self.item_feature = schema.item_feature
        self.categorical = [f.name for f in schema.features if f.kind == CATEGORICAL]
        numbers = [f.name for f in schema.features if f.kind != CATEGORICAL]
        self.continuous = [name for name in numbers if name not in inputs.soft_one_hot]
        self.soft = [name for name in numbers if name in inputs.soft_one_hot]
        self.swap_share = inputs.swap_noise
        aggregation = AGGREGATIONS.get(inputs.aggregation)
        side_width = config.d_model if aggregation.equal_widths else config.side_width
        widths: list[int] = []
        # A list, because a feature's name may be no valid name of a module.
        self.embeddings = nn.ModuleList()
        for feature in schema.features:
            if feature.kind == CATEGORICAL:
                widths.append(config.d_model if feature.name == schema.item_feature else side_width)
                self.embeddings.append(_embedding(int(feature.cardinality or 0), widths[-1], config))
        self.numbers: nn.Module | None = None
        if self.continuous:
            self.numbers = nn.Linear(len(self.continuous), side_width)
            widths.append(side_width)
        make = (SoftOneHot(inputs.soft_one_hot_count, side_width, config.initializer_range) for _ in self.soft)
        self.mixtures = nn.ModuleList(make)
        widths += [side_width] * len(self.soft)
        self.pretrained: PretrainedItems | nn.Embedding | None = None  # an Embedding once folded
        self.pretrained_as = inputs.pretrained_as
        if inputs.pretrained_width:
            width = config.d_model if self.pretrained_as == AS_ITEM else side_width
            frozen = inputs.pretrained_frozen
            self.pretrained = PretrainedItems(schema.item_count, inputs.pretrained_width, width, frozen=frozen)
            widths += [width] if self.pretrained_as == AS_INPUT else []
        self.content: ItemContent | None = None
        self.id_dropout = id_dropout
        if schema.items is not None:
            d_model, spread = config.d_model, config.initializer_range
            self.content = ItemContent(schema.item_count, schema.items, config.side_width, d_model, spread)
        self.join = aggregation(widths, self.categorical.index(self.item_feature), config.d_model)
        self.norm = nn.LayerNorm(config.d_model) if inputs.layer_norm else nn.Identity()
        self.dropout = nn.Dropout(inputs.dropout)

    def id_table(self) -> torch.Tensor:
        """The items without their content: float32 [V, D]; what pretrained vectors add is in it."""
        pretrained = self._pretrained_items
        weight = self._item_embedding.weight
        return weight if pretrained is None else weight + pretrained.table()

    def item_table(self) -> torch.Tensor:
        """The items as they are embedded: float32 [V, D]; the weight itself, unless something is added to it."""
        table, pretrained = self._without_some_ids(self._item_embedding.weight), self._pretrained_items
        table = table if pretrained is None else table + pretrained.table()
        return table if self.content is None else table + self.content.table()

    def item_rows(self, items: torch.Tensor) -> torch.Tensor:
        """Those of some codes: int64 [...] → float32 [..., D]."""
        rows, pretrained = self._without_some_ids(self._item_embedding(items)), self._pretrained_items
        rows = rows if pretrained is None else rows + pretrained(items)
        return rows if self.content is None else rows + self.content(items)

    def _without_some_ids(self, rows: torch.Tensor) -> torch.Tensor:
        """In training zeros in the place of some rows, float32 [..., D]; the others are no larger for it."""
        if not self.training or not self.id_dropout or self.content is None:
            return rows
        return rows * (torch.rand(rows.shape[:-1], device=rows.device) >= self.id_dropout)[..., None]

    def forward(self, features: Mapping[str, torch.Tensor], *, swapped: bool = True) -> torch.Tensor:
        """Features [B, T] by name → float32 [B, T, D].

        swapped: whether swap noise acts, where it is set; it never does outside of training.
        """
        if swapped and self.training and self.swap_share:
            read = {name: features[name] for name in (*self.categorical, *self.continuous, *self.soft)}
            features = swap(read, features[self.item_feature] != PADDING, self.swap_share)
        return self.dropout(self.norm(self.join(self._parts(features))))

    def _parts(self, features: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """What is joined: float32 [B, T, width] each."""
        parts = []
        for name, embedding in zip(self.categorical, self.embeddings, strict=True):
            is_item = name == self.item_feature
            parts.append(self.item_rows(features[name]) if is_item else embedding(features[name]))
        if self.numbers is not None:
            values = torch.stack([features[name] for name in self.continuous], dim=-1)
            parts.append(self.numbers(values))
        parts += [mixture(features[name]) for name, mixture in zip(self.soft, self.mixtures, strict=True)]
        if self.pretrained is not None and self.pretrained_as != AS_ITEM:
            parts.append(self.pretrained(features[self.item_feature]))
        return parts

    @torch.no_grad()
    def fold(self) -> None:
        """Puts sums in the place of content and pretrained vectors, for serving: the same numbers, to rounding, by less."""
        table = self.id_table() if self.content is None else self.id_table() + self.content.table()
        self._item_embedding.weight.copy_(table)
        self.content = None
        if self._pretrained_items is not None:
            self.pretrained = None
        elif isinstance(self.pretrained, PretrainedItems):
            self.pretrained = nn.Embedding.from_pretrained(self.pretrained.table())

    @property
    def _item_embedding(self) -> nn.Embedding:
        return cast("nn.Embedding", self.embeddings[self.categorical.index(self.item_feature)])

    @property
    def _pretrained_items(self) -> PretrainedItems | None:
        if self.pretrained_as == AS_ITEM and isinstance(self.pretrained, PretrainedItems):
            return self.pretrained
        return None


def _embedding(count: int, width: int, config: ModelConfig) -> nn.Embedding:
    embedding = nn.Embedding(count, width)
    nn.init.normal_(embedding.weight, std=config.initializer_range)
    # Training data may hold no null and no unknown value: they say nothing then.
    nn.init.zeros_(embedding.weight[:FIRST_KNOWN])
    return embedding

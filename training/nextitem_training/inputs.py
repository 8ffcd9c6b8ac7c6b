"""Turns the features of an interaction into one vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from nextitem_training.codes import FIRST_KNOWN
from nextitem_training.config import ModelConfig
from nextitem_training.schema import CATEGORICAL, SessionSchema


class InteractionInputs(nn.Module):
    """One embedding per categorical feature, one projection of all numbers, joined to width D."""

    def __init__(self, config: ModelConfig, schema: SessionSchema) -> None:
        super().__init__()
        self.item_feature = schema.item_feature
        self.categorical = [f.name for f in schema.features if f.kind == CATEGORICAL]
        self.continuous = [f.name for f in schema.features if f.kind != CATEGORICAL]
        # A list, because a feature's name may be no valid name of a module.
        self.embeddings = nn.ModuleList()
        width = 0
        for feature in schema.features:
            if feature.kind == CATEGORICAL:
                is_item = feature.name == schema.item_feature
                dimension = config.d_model if is_item else config.side_width
                embedding = nn.Embedding(int(feature.cardinality or 0), dimension)
                nn.init.normal_(embedding.weight, std=config.initializer_range)
                # Training data may hold no null and no unknown value: they say nothing then.
                nn.init.zeros_(embedding.weight[:FIRST_KNOWN])
                self.embeddings.append(embedding)
                width += dimension
        self.numbers: nn.Module | None = None
        if self.continuous:
            self.numbers = nn.Linear(len(self.continuous), config.side_width)
            width += config.side_width
        self.join = nn.Linear(width, config.d_model)

    @property
    def item_table(self) -> torch.Tensor:
        """The item embedding, float32 [V, D]."""
        return self.embeddings[self.categorical.index(self.item_feature)].weight

    def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Features [B, T] by name → float32 [B, T, D]."""
        parts = [embedding(features[name]) for name, embedding in zip(self.categorical, self.embeddings, strict=True)]
        if self.numbers is not None:
            values = torch.stack([features[name] for name in self.continuous], dim=-1)
            parts.append(self.numbers(values))
        return self.join(torch.cat(parts, dim=-1))

"""What an item's attributes and content vector say of it: a vector that is added to its id's embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nextitem_training.schema import ItemsSchema
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


class ItemContent(nn.Module):
    """An embedding for each categorical attribute, the mean of those of each multi-hot one, a projection of all numbers, and
    the vector: side by side, through one linear layer to width D.

    A hidden layer is worse in both respects where items are few: it learns the clicked items by heart, and what it makes of
    others is further off.

    The attributes of all items are among the weights and are not learnt, so that a run directory needs no other file.
    """

    codes: nn.Parameter | None
    numbers: nn.Parameter | None
    vectors: nn.Parameter | None

    def __init__(self, count: int, schema: ItemsSchema, width: int, d_model: int, initializer_range: float) -> None:
        """count: V. width: of each attribute's embedding. d_model: D."""
        super().__init__()
        categorical, multi_hot = schema.of_kind("categorical"), schema.of_kind("multi_hot")
        numbers = len(schema.attributes) - len(categorical) - len(multi_hot)
        self.embeddings = _embeddings([int(one.cardinality or 0) for one in categorical], width, initializer_range)
        self.bag_embeddings = _embeddings([int(one.cardinality or 0) for one in multi_hot], width, initializer_range)
        self.numbers_projection = nn.Linear(numbers, width) if numbers else None
        joined = width * (len(categorical) + len(multi_hot) + bool(numbers)) + schema.vectors_width
        self.projection = nn.Linear(joined, d_model)
        self.register_parameter("codes", _table(count, len(categorical), torch.int64))
        self.register_parameter("numbers", _table(count, numbers, torch.float32))
        self.register_parameter("vectors", _table(count, schema.vectors_width, torch.float32))
        lengths = [int(one.length or 1) for one in multi_hot]
        self.bags = nn.ParameterList([_constant(torch.zeros(count, length, dtype=torch.int64)) for length in lengths])

    @torch.no_grad()
    def fill(
        self, codes: torch.Tensor, bags: Sequence[torch.Tensor], numbers: torch.Tensor, vectors: torch.Tensor
    ) -> None:
        """Takes the attributes of all items: int64 [V, A] and [V, L] each, float32 [V, N] and [V, P]."""
        for own, given in ((self.codes, codes), (self.numbers, numbers), (self.vectors, vectors)):
            if own is not None:
                own.copy_(given)
        for own, given in zip(self.bags, bags, strict=True):
            own.copy_(given)

    def encode(
        self,
        codes: torch.Tensor | None,
        bags: Sequence[torch.Tensor],
        numbers: torch.Tensor | None,
        vectors: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attributes to vectors: int64 [..., A], int64 [..., L] each, float32 [..., N] and [..., P] → float32 [..., D].

        None is given where the model has no such attributes.
        """
        parts = [] if codes is None else [embed(codes[..., place]) for place, embed in enumerate(self.embeddings)]
        parts += [_mean(embed, bag) for embed, bag in zip(self.bag_embeddings, bags, strict=True)]
        if self.numbers_projection is not None:
            parts.append(self.numbers_projection(numbers))
        parts += [] if vectors is None else [vectors]
        return self.projection(torch.cat(parts, dim=-1))

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Codes int64 [...] → float32 [..., D], zeros for padding, null and unknown."""
        rows = [None if table is None else table[items] for table in (self.codes, self.numbers, self.vectors)]
        content = self.encode(rows[0], [bag[items] for bag in self.bags], rows[1], rows[2])
        return content * (items >= FIRST_KNOWN)[..., None]

    def table(self) -> torch.Tensor:
        """All items: float32 [V, D]."""
        known = torch.arange(len(self), device=self.projection.weight.device) >= FIRST_KNOWN
        return self.encode(self.codes, list(self.bags), self.numbers, self.vectors) * known[:, None]

    def __len__(self) -> int:
        """V."""
        tables = [table for table in (self.codes, self.numbers, self.vectors, *self.bags) if table is not None]
        return len(tables[0])


def _embeddings(counts: Sequence[int], width: int, initializer_range: float) -> nn.ModuleList:
    made = [nn.Embedding(count, width) for count in counts]
    for embedding in made:
        nn.init.normal_(embedding.weight, std=initializer_range)
        # What training may never see: null, unknown and the padding say nothing then.
        nn.init.zeros_(embedding.weight[:FIRST_KNOWN])
    return nn.ModuleList(made)


def _table(count: int, width: int, dtype: torch.dtype) -> nn.Parameter | None:
    return _constant(torch.zeros(count, width, dtype=dtype)) if width else None


def _constant(values: torch.Tensor) -> nn.Parameter:
    # No buffer: processes that train together would send it to each other in every step.
    return nn.Parameter(values, requires_grad=False)


def _mean(embedding: nn.Module, bag: torch.Tensor) -> torch.Tensor:
    """The mean of a bag's embeddings, int64 [..., L] → float32 [..., width]; zeros for an empty one."""
    real = (bag != PADDING)[..., None].to(torch.float32)
    return (embedding(bag) * real).sum(dim=-2) / real.sum(dim=-2).clamp(min=1)

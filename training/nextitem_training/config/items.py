"""[items]: the columns of the items table, which `nextitem-train --items` names, and how the model learns from them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Names, Section, Share
from nextitem_training.errors import ConfigError

FILE = ".npz"


@dataclass(frozen=True)
class ItemsConfig(Section):
    """The items table: one row for each item, with what the shop knows of it. See docs/items.md.

    Attributes become part of the item's vector, so that callers send item ids alone and items that training never saw can be
    recommended.
    """

    table: ClassVar[str] = "[items]"

    item_column: str = ""
    """Column of the items table with the item's id. Empty: the name that `[data] item_column` says."""
    categorical: Names = ()
    """Columns of strings or integers, such as category and colour."""
    continuous: Names = ()
    """Columns of numbers, standardised by mean and standard deviation of the items that training saw. Null becomes the mean."""
    log_continuous: Names = ()
    """Columns of skewed amounts, such as prices: log(1 + x), then standardised. Values below 0 count as 0."""
    multi_hot: Names = ()
    """Columns of lists of strings or integers, such as tags: the mean of their embeddings counts."""
    vectors: str = ""
    """Content vectors, of texts or pictures say: a column of lists of floats, all of one length, or the path of an .npz file
    with `ids` [N] and `vectors` float32 [N, P]. Items without a vector get zeros."""
    vectors_width: NonNegativeInt = 0
    """P, the width of the vectors. nextitem-train sets it in the run directory; leave it out of the file."""
    title: str = ""
    """Column with a title for people."""
    image: str = ""
    """Column with a picture's address for people."""
    url: str = ""
    """Column with the address of the item's page for people."""
    cold_start: bool = False
    """Recommend items of the table that nobody clicked, too, by their attributes alone. Training learns nothing of them."""
    id_dropout: Share = 0.15
    """Share of item ids that training leaves out, so that attributes learn to stand alone (DropoutNet; Volkovs et al.,
    2017)."""

    def __post_init__(self) -> None:
        names = [*self.attributes, *([self.vectors] if self.vectors_column else []), *self.shown.values()]
        for name in names:
            if names.count(name) > 1 and name not in self.shown.values():
                raise ConfigError(f"[items] lists '{name}' more than once; an attribute has one use.")
        if self.item_column and self.item_column in names:
            raise ConfigError(f"[items] item_column is '{self.item_column}', which is listed as an attribute too.")
        if self.vectors_width and not self.vectors:
            raise ConfigError(
                f"[items] vectors_width is {self.vectors_width} without vectors; training writes it by itself, so leave it out."
            )
        if self.cold_start and not self.learns:
            raise ConfigError(
                "[items] cold_start is true, but there is nothing to recommend new items by: list columns under categorical, "
                "continuous, log_continuous or multi_hot, or set vectors."
            )

    @property
    def attributes(self) -> tuple[str, ...]:
        """The columns that the model learns from, without the vectors: categorical, multi_hot, log_continuous, continuous."""
        return (*self.categorical, *self.multi_hot, *self.log_continuous, *self.continuous)

    @property
    def vectors_column(self) -> str:
        """The table's column of vectors, empty where there is none."""
        return "" if self.vectors.endswith(FILE) else self.vectors

    @property
    def shown(self) -> dict[str, str]:
        """Columns for people by what they are."""
        roles = {"title": self.title, "image": self.image, "url": self.url}
        return {role: name for role, name in roles.items() if name}

    @property
    def learns(self) -> bool:
        """Whether the model learns from the table."""
        return bool(self.attributes or self.vectors)

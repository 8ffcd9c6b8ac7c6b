"""What a caller sends and what the model reads: schema.json of the run directory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from nextitem_training.errors import RunDirectoryError

FORMAT_VERSION = 2
CATEGORICAL = "categorical"
CONTINUOUS = "continuous"


@dataclass(frozen=True)
class RawFeature:
    """A column of the interactions as they are recorded and sent."""

    name: str
    dtype: str
    """One of string, int64, float32, datetime; a bundle's builder may also meet narrower ones."""


@dataclass(frozen=True)
class Feature:
    """A tensor [B, T] that the model reads, named as the workflow names it."""

    name: str
    dtype: str
    kind: str
    """`categorical` (int64 codes) or `continuous` (float32)."""
    cardinality: int | None
    """How many codes there are, padding, null and unknown included; None where continuous."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadOutput:
    """A further output of the model, float32 [B, width]."""

    name: str
    kind: str
    """`binary` (a probability) or `regression` (a value in the column's unit)."""
    width: int


@dataclass(frozen=True)
class ItemAttribute:
    """A column of the items table that the model learns from."""

    name: str
    kind: str
    """`categorical`, `multi_hot`, `log_continuous` or `continuous`."""
    dtype: str
    """Of a value: string, int64 or float32."""
    cardinality: int | None = None
    """How many codes there are, padding, null and unknown included; None for numbers."""
    length: int | None = None
    """The most values that an item has, of a multi-hot attribute."""


@dataclass(frozen=True)
class ItemsSchema:
    """The items table of a run: its attributes, in the order in which the model reads them."""

    attributes: tuple[ItemAttribute, ...]
    vectors: str = ""
    """The column of the content vectors, empty where there are none."""
    vectors_width: int = 0
    shown: Mapping[str, str] = field(default_factory=dict)
    """Columns for people by `title`, `image` and `url`."""

    def of_kind(self, kind: str) -> tuple[ItemAttribute, ...]:
        """The attributes of a kind, in order."""
        return tuple(attribute for attribute in self.attributes if attribute.kind == kind)


@dataclass(frozen=True)
class SessionSchema:
    """The columns and features of one trained model."""

    window: int
    """The newest interactions of a session that the model reads."""
    session_column: str
    time_column: str
    tie_breaker_column: str
    """Empty where an imported workflow has none."""
    item_column: str
    item_feature: str
    raw_features: tuple[RawFeature, ...]
    features: tuple[Feature, ...]
    heads: tuple[HeadOutput, ...] = ()
    items: ItemsSchema | None = None
    """None without an items table."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the model's features, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def item(self) -> Feature:
        """The feature that holds the encoded items."""
        return next(feature for feature in self.features if feature.name == self.item_feature)

    @property
    def item_count(self) -> int:
        """V: the item table's rows, those of padding, null and unknown included."""
        return int(self.item.cardinality or 0)

    @property
    def raw_dtypes(self) -> dict[str, str]:
        """The raw features' dtypes by name."""
        return {feature.name: feature.dtype for feature in self.raw_features}

    def to_json(self) -> str:
        """Writes the schema as docs/run-directory.md says."""
        return json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> SessionSchema:
        """Reads what `to_json` wrote. Raises RunDirectoryError on another format."""
        try:
            fields = json.loads(text)
            version = fields.pop("format_version")
            if version != FORMAT_VERSION:
                raise RunDirectoryError(
                    f"schema.json has format version {version}, this program reads "
                    f"{FORMAT_VERSION}. Train again, or install the version that wrote it."
                )
            fields["raw_features"] = tuple(RawFeature(**raw) for raw in fields["raw_features"])
            fields["features"] = tuple(
                Feature(**{**feature, "tags": tuple(feature["tags"])}) for feature in fields["features"]
            )
            # A run from before there were heads has none.
            fields["heads"] = tuple(HeadOutput(**head) for head in fields.get("heads", ()))
            items = fields.get("items")
            if items is not None:
                attributes = tuple(ItemAttribute(**attribute) for attribute in items["attributes"])
                fields["items"] = ItemsSchema(**{**items, "attributes": attributes})
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunDirectoryError(
                f"schema.json cannot be read ({type(error).__name__}: {error}). "
                "It has to follow docs/run-directory.md; train again."
            ) from error

"""What a client knows of a model: the JSON document `nextitem.signature`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from nextitem_client._exceptions import UnsupportedSignature

PARAMETER = "nextitem.signature"
FORMAT_VERSION = 1
# Of signatures that do not say: exporters before filters had a limit of their own.
DEFAULT_MAX_FILTER_IDS = 16_384

# kind → KServe v2 type on the wire
DATATYPES: Mapping[str, str] = {
    "string": "BYTES",
    "integer": "INT64",
    "boolean": "INT64",
    "datetime": "INT64",
    "float": "FP32",
}


@dataclass(frozen=True)
class Feature:
    """One raw feature column: its name, its type on the wire and what it holds (`kind`)."""

    name: str
    datatype: str
    kind: str


@dataclass(frozen=True)
class Head:
    """A further output of the model: its name, and how many values it has for each session."""

    name: str
    width: int


@dataclass(frozen=True)
class Signature:
    """A model's features and limits, as its exporter wrote them."""

    bundle_version: int
    window: int
    max_sessions_per_request: int
    max_interactions_per_session: int
    max_id_bytes: int
    top_k_default: int
    top_k_limit: int
    item_column: str
    features: tuple[Feature, ...]
    options: frozenset[str]
    max_filter_ids: int = DEFAULT_MAX_FILTER_IDS
    heads: tuple[Head, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in the signature's order."""
        return tuple(feature.name for feature in self.features)


def parse_signature(document: str, model: str) -> Signature:
    """Read the JSON text of `model`'s signature; keys that later exporters may add are ignored.

    Raises UnsupportedSignature.
    """
    try:
        raw = cast("dict[str, Any]", json.loads(document))
        version = raw["format_version"]
        if version == FORMAT_VERSION:
            return _read(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsupportedSignature(
            f"The {PARAMETER} of model {model} is damaged ({type(error).__name__}: {error}). "
            "Export the model again with nextitem-export."
        ) from None
    raise UnsupportedSignature(
        f"The {PARAMETER} of model {model} has format_version {version}; this nextitem-client "
        f"reads {FORMAT_VERSION}. Upgrade it: pip install --upgrade nextitem-client."
    )


def _read(raw: dict[str, Any]) -> Signature:
    features = tuple(
        Feature(name=str(entry["name"]), datatype=str(entry["datatype"]), kind=str(entry["kind"]))
        for entry in raw["features"]
    )
    for feature in features:
        if DATATYPES.get(feature.kind) != feature.datatype:
            raise ValueError(f"feature {feature.name} is {feature.kind} as {feature.datatype}")
    item_column = str(raw["item_column"])
    if item_column not in {feature.name for feature in features}:
        raise ValueError(f"item_column {item_column} is no feature")
    return Signature(
        bundle_version=int(raw["bundle_version"]),
        window=int(raw["window"]),
        max_sessions_per_request=int(raw["max_sessions_per_request"]),
        max_interactions_per_session=int(raw["max_interactions_per_session"]),
        max_id_bytes=int(raw["max_id_bytes"]),
        top_k_default=int(raw["top_k"]["default"]),
        top_k_limit=int(raw["top_k"]["limit"]),
        item_column=item_column,
        features=features,
        options=frozenset(str(option) for option in raw["options"]),
        max_filter_ids=int(raw.get("max_filter_ids", DEFAULT_MAX_FILTER_IDS)),
        # Exporters before further heads do not say.
        heads=tuple(Head(name=str(entry["name"]), width=int(entry["width"])) for entry in raw.get("heads", ())),
    )

"""The request that a bundle understands: what stands as JSON in `nextitem.signature` and in the features step."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from .wire import DATATYPES

FORMAT_VERSION = 2
"""The version of the whole written format: signature, manifest, names of the models."""
PARAMETER = "nextitem.signature"
"""The parameter in the configuration of a bundle that holds the signature."""
# Of signatures that do not say.
_MAX_FILTER_IDS = 16_384


class SignatureError(ValueError):
    """A signature cannot be read; the message goes on after the signature's name."""


@dataclasses.dataclass(frozen=True)
class Feature:
    """One column of raw interactions as a caller sends it: a tensor [B, T] of `datatype`.

    Attributes:
        name: the column's name.
        kind: what it holds: `string`, `integer`, `boolean`, `datetime` (ns since 1970, UTC) or `float`.
    """

    name: str
    kind: str

    @property
    def datatype(self) -> str:
        """The KServe v2 type on the wire."""
        return DATATYPES[self.kind]


@dataclasses.dataclass(frozen=True)
class Head:
    """A further output of the model: FP32 [B, width], named by the head.

    Attributes:
        name: the head's name.
        width: the number of values for each session.
    """

    name: str
    width: int


@dataclasses.dataclass(frozen=True)
class Signature:
    """All that a client needs to know of a bundle: its features and limits. The features step checks the limits.

    Attributes:
        bundle_version: the version that was exported.
        window: the number of newest interactions of a session that the model reads.
        item_column: the feature that is the item.
        features: the features of a request, in order.
        top_k_default: items in an answer where a request does not say how many.
        top_k_limit: the largest number of items in an answer.
        max_sessions_per_request: the largest number of sessions in one request.
        max_interactions_per_session: the largest number of interactions of one session in a request.
        max_id_bytes: the longest string, in bytes of UTF-8.
        max_filter_ids: the largest number of ids in a filter of one session.
        options: the optional tensors that the model understands.
        heads: the model's further outputs.
        catalogue: attributes of items that the bundle has itself: inputs that no request may have.
    """

    bundle_version: int
    window: int
    item_column: str
    features: tuple[Feature, ...]
    top_k_default: int
    top_k_limit: int
    max_sessions_per_request: int
    max_interactions_per_session: int
    max_id_bytes: int
    max_filter_ids: int = _MAX_FILTER_IDS
    options: tuple[str, ...] = ()
    heads: tuple[Head, ...] = ()
    catalogue: tuple[Feature, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of all tensors that the bundle declares: features, options and what it refuses."""
        return (*self.feature_names, *self.options, *(attribute.name for attribute in self.catalogue))

    def refusal(self, names: Collection[Any]) -> str | None:
        """Why a request may not have these names, None where it may.

        Args:
            names: of the request's tensors, or of a session's columns.

        Returns:
            A clause that names the attributes of the catalogue among them and says what to do.
        """
        found = [attribute.name for attribute in self.catalogue if attribute.name in names]
        if not found:
            return None
        listed = ", ".join(f"'{name}'" for name in found)
        return (
            f"the catalogue has {listed} of each item: leave {'them' if len(found) > 1 else 'it'} away; "
            f"nextitem-catalogue update changes {'them' if len(found) > 1 else 'it'}"
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the features, in the signature's order."""
        return tuple(feature.name for feature in self.features)

    def feature(self, name: str) -> Feature:
        """The raw feature of that name.

        Args:
            name: the feature's name.
        """
        return next(feature for feature in self.features if feature.name == name)

    def to_json(self) -> dict[str, Any]:
        """The document of `nextitem.signature`."""
        return {
            "format_version": FORMAT_VERSION,
            "bundle_version": self.bundle_version,
            "window": self.window,
            "max_sessions_per_request": self.max_sessions_per_request,
            "max_interactions_per_session": self.max_interactions_per_session,
            "max_id_bytes": self.max_id_bytes,
            "max_filter_ids": self.max_filter_ids,
            "top_k": {"default": self.top_k_default, "limit": self.top_k_limit},
            "item_column": self.item_column,
            "features": _written(self.features),
            "catalogue": _written(self.catalogue),
            "options": list(self.options),
            "heads": [{"name": head.name, "width": head.width} for head in self.heads],
        }

    @classmethod
    def from_json(cls, document: Any) -> Signature:
        """Read the document of `nextitem.signature`.

        Unknown keys are ignored, so that installed readers keep working with later exporters.

        Args:
            document: JSON, as text or parsed.

        Returns:
            The signature.

        Raises:
            SignatureError: the document is damaged, or of another format.
        """
        try:
            parsed = json.loads(document) if isinstance(document, str) else document
            version = parsed["format_version"]
            if version == FORMAT_VERSION:
                return _read(cast("Mapping[str, Any]", parsed))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SignatureError(
                f"is damaged ({type(error).__name__}: {error}): export the bundle again with nextitem-export"
            ) from None
        raise SignatureError(
            f"has format_version {version}, and this program reads {FORMAT_VERSION}: "
            + _remedy(version, "export the bundle again with nextitem-export")
        )


def _remedy(version: Any, older: str) -> str:
    """What to do about a format of another version."""
    newer = isinstance(version, int) and version > FORMAT_VERSION
    return "upgrade the nextitem packages here (pip install --upgrade)" if newer else older


def _read(document: Mapping[str, Any]) -> Signature:
    features = tuple(_feature(entry) for entry in document["features"])
    catalogue = tuple(_feature(entry) for entry in document.get("catalogue", ()))
    item_column, names = str(document["item_column"]), {feature.name for feature in features}
    if item_column not in names:
        raise ValueError(f"item_column {item_column} is no feature")
    both = [attribute.name for attribute in catalogue if attribute.name in names]
    if both:
        raise ValueError(f"{both[0]} is a feature and an attribute of the catalogue")
    return Signature(
        bundle_version=int(document["bundle_version"]),
        window=int(document["window"]),
        item_column=item_column,
        features=features,
        top_k_default=int(document["top_k"]["default"]),
        top_k_limit=int(document["top_k"]["limit"]),
        max_sessions_per_request=int(document["max_sessions_per_request"]),
        max_interactions_per_session=int(document["max_interactions_per_session"]),
        max_id_bytes=int(document["max_id_bytes"]),
        max_filter_ids=int(document.get("max_filter_ids", _MAX_FILTER_IDS)),
        options=tuple(str(option) for option in document.get("options", ())),
        heads=tuple(Head(str(entry["name"]), int(entry["width"])) for entry in document.get("heads", ())),
        catalogue=catalogue,
    )


def _written(features: Iterable[Feature]) -> list[dict[str, str]]:
    return [{"name": one.name, "datatype": one.datatype, "kind": one.kind} for one in features]


def _feature(entry: Mapping[str, Any]) -> Feature:
    name, kind, datatype = str(entry["name"]), str(entry["kind"]), str(entry["datatype"])
    if DATATYPES.get(kind) != datatype:
        raise ValueError(f"feature {name} is {kind} as {datatype}")
    return Feature(name, kind)

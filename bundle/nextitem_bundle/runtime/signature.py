"""The request that a bundle understands: what stands as JSON in `nextitem.signature` and in the features step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

FORMAT_VERSION = 1

#: KServe v2 type on the wire for each kind of raw feature.
DATATYPES = {
    "string": "BYTES",
    "integer": "INT64",
    "boolean": "INT64",
    "datetime": "INT64",
    "float": "FP32",
}


@dataclasses.dataclass(frozen=True)
class RawFeature:
    """One column of raw interactions as a caller sends it: a tensor [B, T] of `datatype`."""

    name: str
    kind: str

    @property
    def datatype(self) -> str:
        """The KServe v2 type on the wire."""
        return DATATYPES[self.kind]


@dataclasses.dataclass(frozen=True)
class Head:
    """A further output of the model: FP32 [B, width], named by the head."""

    name: str
    width: int


@dataclasses.dataclass(frozen=True)
class Signature:
    """All that a client needs to know of a bundle.

    `window`: the newest interactions of a session that the model reads. `max_id_bytes`: the longest string, in
    bytes of UTF-8. The limits are checked by the features step and named in its errors.
    """

    bundle_version: int
    window: int
    item_column: str
    features: tuple[RawFeature, ...]
    top_k_default: int
    top_k_limit: int
    max_sessions_per_request: int
    max_interactions_per_session: int
    max_id_bytes: int
    max_filter_ids: int
    options: tuple[str, ...]
    heads: tuple[Head, ...] = ()

    def feature(self, name: str) -> RawFeature:
        """The raw feature of that name."""
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
            "features": [{"name": f.name, "datatype": f.datatype, "kind": f.kind} for f in self.features],
            "options": list(self.options),
            "heads": [{"name": head.name, "width": head.width} for head in self.heads],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Signature:
        """Read the document of `nextitem.signature`.

        Raises ValueError if its format version is another than the one this runtime knows.
        """
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"the signature has format version {document['format_version']}, this runtime reads "
                f"{FORMAT_VERSION}: export the bundle again with the runtime's own nextitem-export"
            )
        return cls(
            bundle_version=document["bundle_version"],
            window=document["window"],
            item_column=document["item_column"],
            features=tuple(RawFeature(f["name"], f["kind"]) for f in document["features"]),
            top_k_default=document["top_k"]["default"],
            top_k_limit=document["top_k"]["limit"],
            max_sessions_per_request=document["max_sessions_per_request"],
            max_interactions_per_session=document["max_interactions_per_session"],
            max_id_bytes=document["max_id_bytes"],
            max_filter_ids=document["max_filter_ids"],
            options=tuple(document["options"]),
            # Bundles from before further heads say nothing of them.
            heads=tuple(Head(head["name"], head["width"]) for head in document.get("heads", ())),
        )

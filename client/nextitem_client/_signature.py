"""What a client knows of a model: the JSON document `nextitem.signature`."""

from __future__ import annotations

from nextitem_bundle.signature import PARAMETER, Signature, SignatureError
from nextitem_client._exceptions import UnsupportedSignature


def parse_signature(document: str, model: str) -> Signature:
    """Read the JSON text of `model`'s signature; keys that later exporters may add are ignored.

    Raises UnsupportedSignature.
    """
    try:
        return Signature.from_json(document)
    except SignatureError as error:
        raise UnsupportedSignature(f"The {PARAMETER} of model {model} {error}.") from None

"""The request that a bundle understands. It is part of the runtime, which reads it inside Triton too."""

from .runtime.signature import FORMAT_VERSION, PARAMETER, Feature, Head, Signature, SignatureError

__all__ = ["FORMAT_VERSION", "PARAMETER", "Feature", "Head", "Signature", "SignatureError"]

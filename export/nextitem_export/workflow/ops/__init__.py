"""One file per operator of NVTabular; importing this package registers them all."""

from . import (
    bucketize,
    categorify,
    clip,
    fill,
    filter,
    groupby,
    lambdaop,
    list_slice,
    logop,
    normalize,
    plumbing,
    rename,
    replacements,
    unsupported,
)

__all__ = [
    "bucketize",
    "categorify",
    "clip",
    "fill",
    "filter",
    "groupby",
    "lambdaop",
    "list_slice",
    "logop",
    "normalize",
    "plumbing",
    "rename",
    "replacements",
    "unsupported",
]

"""Exports a trained session model and its fitted NVTabular workflow to a Triton model repository."""

from ._errors import (
    ExportError,
    ParityError,
    RepositoryError,
    UnsupportedModel,
    UnsupportedWorkflow,
)
from .bundle import Bundle, export_bundle
from .options import ExportOptions
from .run import export_run

__all__ = [
    "Bundle",
    "ExportError",
    "ExportOptions",
    "ParityError",
    "RepositoryError",
    "UnsupportedModel",
    "UnsupportedWorkflow",
    "export_bundle",
    "export_run",
]

"""Exports a trained session model and its fitted NVTabular workflow to a Triton model repository."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nextitem_bundle.lazy import imported_later

from ._errors import (
    CatalogueError,
    ControlError,
    ExportError,
    ParityError,
    ParityWarning,
    RepositoryError,
    UnsupportedModel,
    UnsupportedWorkflow,
)

if TYPE_CHECKING:
    from .activation import Activation, activate_bundle
    from .bundle import Bundle, export_bundle
    from .catalogue.update import CatalogueUpdate, update_catalogue
    from .explain import Refused, explain_workflow
    from .model_files.file import ModelFile
    from .options import ExportOptions
    from .run import export_run
    from .workflow.compile import Explained

__all__ = [
    "Activation",
    "Bundle",
    "CatalogueError",
    "CatalogueUpdate",
    "ControlError",
    "Explained",
    "ExportError",
    "ExportOptions",
    "ModelFile",
    "ParityError",
    "ParityWarning",
    "Refused",
    "RepositoryError",
    "UnsupportedModel",
    "UnsupportedWorkflow",
    "activate_bundle",
    "explain_workflow",
    "export_bundle",
    "export_run",
    "update_catalogue",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

__getattr__ = imported_later(
    __name__,
    {
        "Activation": "activation",
        "activate_bundle": "activation",
        "Bundle": "bundle",
        "export_bundle": "bundle",
        "CatalogueUpdate": "catalogue.update",
        "update_catalogue": "catalogue.update",
        "Explained": "workflow.compile",
        "explain_workflow": "explain",
        "ExportOptions": "options",
        "export_run": "run",
        "ModelFile": "model_files.file",
        "Refused": "explain",
    },
)

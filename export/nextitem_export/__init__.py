"""Exports a trained session model and its fitted NVTabular workflow to a Triton model repository."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from ._errors import (
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
    from .explain import Refused, explain_workflow
    from .model_files.file import ModelFile
    from .options import ExportOptions
    from .run import export_run
    from .workflow.compile import Explained

__all__ = [
    "Activation",
    "Bundle",
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
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Imported when first asked for: NVTabular and torch take seconds, which `nextitem-export --help` need not wait for.
_LATER = {
    "Activation": "activation",
    "activate_bundle": "activation",
    "Bundle": "bundle",
    "export_bundle": "bundle",
    "Explained": "workflow.compile",
    "explain_workflow": "explain",
    "ExportOptions": "options",
    "export_run": "run",
    "ModelFile": "model_files.file",
    "Refused": "explain",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}', it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)

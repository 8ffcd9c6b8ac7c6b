"""Why an export or a switch of versions was refused.

ExportError                 base of all; nothing was written
├── UnsupportedWorkflow     the fitted workflow cannot be served as it is
├── UnsupportedModel        the model does not fit the workflow or cannot be exported
├── ParityError             the exported graphs do not answer as NVTabular and the eager model do
├── CatalogueError          the bundle has no catalogue, or the items that were given do not fit it
├── RepositoryError         the bundle cannot be placed in the model repository, or cannot answer from there
└── ControlError            the running server cannot be switched to another version

ParityWarning               what a bundle that was written could not be proved of
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from nextitem_bundle import errors as bundle

_CALL = re.compile(r"(?:ExportOptions|activate_bundle|update_catalogue)\((\w+=[^()]*)\)")
_QUOTES = "'\""
#: Arguments whose flags have other names.
_FLAGS = {"key": "control_key_file"}


class ExportError(Exception):
    """The export was refused; the message says what came, what was expected and what to do.

    A choice in it is written as in Python, `ExportOptions(scoring='exact')`.
    """

    def in_flags(self) -> str:
        """The message for the command, which has a flag for each choice: `--scoring exact`."""
        return _CALL.sub(lambda call: " ".join(map(_flag, call[1].split(", "))), str(self))


def _flag(argument: str) -> str:
    name, value = argument.split("=", 1)
    flag = "--" + _FLAGS.get(name, name).replace("_", "-")
    return flag if value in ("True", "…") else f"{flag} {value.strip(_QUOTES)}"


class UnsupportedWorkflow(ExportError):  # noqa: N818  reads as what it is
    """The fitted workflow cannot be served as it is."""


class UnsupportedModel(ExportError):  # noqa: N818
    """The model does not fit the workflow or cannot be exported."""


class ParityError(ExportError):
    """The exported graphs do not answer as NVTabular and the eager model do."""


class CatalogueError(ExportError):
    """The bundle has no catalogue that can be updated, or the items that were given do not fit it; nothing was changed."""


class RepositoryError(ExportError):
    """The bundle cannot be placed in the model repository."""


@contextlib.contextmanager
def repository_errors() -> Iterator[None]:
    """Raise what nextitem_bundle has to say of a repository as RepositoryError."""
    try:
        yield
    except bundle.BundleError as error:
        raise RepositoryError(str(error)) from error


class ControlError(ExportError):
    """The running server cannot be switched to another version; the one that answers goes on."""


class ParityWarning(UserWarning):
    """NVTabular has an answer for less than half of the sample's sessions; the bundle was written."""

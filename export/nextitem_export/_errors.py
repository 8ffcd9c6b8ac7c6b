"""Why an export or a switch of versions was refused.

ExportError                 base of all; nothing was written
├── UnsupportedWorkflow     the fitted workflow cannot be served as it is
├── UnsupportedModel        the model does not fit the workflow or cannot be exported
├── ParityError             the exported graphs do not answer as NVTabular and the eager model do
├── RepositoryError         the bundle cannot be placed in the model repository, or cannot answer from there
└── ControlError            the running server cannot be switched to another version

ParityWarning               what a bundle that was written could not be proved of
"""


class ExportError(Exception):
    """The export was refused; the message says what came, what was expected and what to do."""


class UnsupportedWorkflow(ExportError):  # noqa: N818  reads as what it is
    """The fitted workflow cannot be served as it is."""


class UnsupportedModel(ExportError):  # noqa: N818
    """The model does not fit the workflow or cannot be exported."""


class ParityError(ExportError):
    """The exported graphs do not answer as NVTabular and the eager model do."""


class RepositoryError(ExportError):
    """The bundle cannot be placed in the model repository."""


class ControlError(ExportError):
    """The running server cannot be switched to another version; the one that answers goes on."""


class ParityWarning(UserWarning):
    """NVTabular has an answer for less than half of the sample's sessions; the bundle was written."""

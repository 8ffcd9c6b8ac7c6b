"""What can go wrong between a model repository and a server that answers.

ServeError
├── InvalidOption      an option that nextitem-serve cannot take
├── RepositoryError    no folder there, or a file, or a model
│   └── EmptyRepository    no model in it
├── WorkFolderError    temporary files cannot be what Triton needs of them
├── TritonNotFound     no tritonserver for this Python, platform or path
├── PortInUse          a fixed port is taken
├── StartTimeout       not ready in time
├── ModelsFailed       Triton started, a model did not
└── ServerDied         tritonserver ended by itself
"""

# ruff: noqa: N818 -- the names say what happened; the base class says that it is an error

from __future__ import annotations

from collections.abc import Mapping


class ServeError(Exception):
    """Base of this package's errors; the text is one sentence, or a few, with the cure."""


class InvalidOption(ServeError):
    """An option was given that cannot be passed to tritonserver."""


class RepositoryError(ServeError):
    """The model repository does not exist, or is something else."""


class EmptyRepository(RepositoryError):
    """The model repository holds no model yet."""


class WorkFolderError(ServeError):
    """The folder for temporary files is full, may hold no programs, or has a path that Triton cannot pass on."""


class TritonNotFound(ServeError):
    """No usable tritonserver was found."""


class PortInUse(ServeError):
    """A port that was asked for is taken by another process."""


class StartTimeout(ServeError):
    """The server was not ready within `timeout_s`."""


class ModelsFailed(ServeError):
    """One or more models could not be loaded.

    Args:
        message: the whole sentence.
        reasons: model to Triton's reason.
    """

    def __init__(self, message: str, reasons: Mapping[str, str]):
        super().__init__(message)
        self.reasons = dict(reasons)


class ServerDied(ServeError):
    """Tritonserver ended although nobody asked it to."""

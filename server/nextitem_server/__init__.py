"""Finds NVIDIA Triton Inference Server, starts it on a model repository and stops it again.

with TritonServer("model_repository") as server:
    print(server.http_url, server.grpc_url, server.metrics_url)
"""

import logging

from nextitem_server.errors import (
    EmptyRepository,
    InvalidOption,
    ModelsFailed,
    PortInUse,
    RepositoryError,
    ServeError,
    ServerDied,
    StartTimeout,
    TritonNotFound,
    WorkFolderError,
)
from nextitem_server.health import ModelState
from nextitem_server.ports import Ports
from nextitem_server.process import TritonServer

__all__ = [
    "EmptyRepository",
    "InvalidOption",
    "ModelState",
    "ModelsFailed",
    "PortInUse",
    "Ports",
    "RepositoryError",
    "ServeError",
    "ServerDied",
    "StartTimeout",
    "TritonNotFound",
    "TritonServer",
    "WorkFolderError",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())

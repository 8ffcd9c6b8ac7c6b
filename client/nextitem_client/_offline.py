"""OfflineClient: the client's calls, answered from a bundle in this process instead of by a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Union

from nextitem_client._bundle import Bundle, read_bundle, verify_files
from nextitem_client._client import Client
from nextitem_client._exceptions import BundleError
from nextitem_client._in_process import InProcess
from nextitem_client._transport import Inference, Reply, Transport


class OfflineClient(Client):
    """Answers from a bundle on disk as a server would that serves it: the same graphs, results and errors.

    Args:
        bundle: the bundle's folder, `<repository>/<name>`; the version is the one that its configuration is pinned to.
        verify: compare every file with the checksums in bundle.json first.
        trust_pickle: open a bundle that holds a pickle (`--features nvtabular`), which can run any code.

    Opening a bundle runs the Python source in it: open only what you or somebody you trust has exported; checksums
    find damage, not malice. Nothing is written. The availability list is read once, here. Threads may share a client.
    Raises BundleError, UnsupportedSignature, MissingPackage.
    """

    def __init__(
        self, bundle: Union[str, os.PathLike[str]], *, verify: bool = True, trust_pickle: bool = False
    ) -> None:
        path = Path(bundle).resolve()
        self._bundle = _checked(path, verify=verify, trust_pickle=trust_pickle)
        super().__init__("http://in.process:1", self._bundle.name, retries=0)  # an address that is never used
        self._address = replace(self._address, url=str(path))  # what errors name

    def __enter__(self) -> OfflineClient:
        self._require_open()
        return self

    def _connect(self) -> Transport:
        return _InProcessTransport(self._bundle)


def _checked(path: Path, *, verify: bool, trust_pickle: bool) -> Bundle:
    bundle = read_bundle(path)
    if bundle.holds_pickle and not trust_pickle:
        raise BundleError(
            f"The bundle {bundle.name} holds a pickled workflow (it was exported with --features nvtabular), and "
            "opening a pickle can run any code. If it is your own, open it with trust_pickle=True (--trust-pickle)."
        )
    if verify:
        verify_files(bundle)
    return bundle


class _InProcessTransport:
    """A Transport to the steps in this process, which know no timeout."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._steps = InProcess(bundle)

    def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        return [self._bundle.name]

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        return self._bundle.parameters

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        return Reply(self._steps.answer(inference.inputs, inference.outputs), str(self._bundle.version))

    def close(self) -> None:
        """See Transport."""

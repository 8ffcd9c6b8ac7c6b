"""OfflineClient: the client's calls, answered from a bundle in this process instead of by a server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

from nextitem_client._bundle import Bundle, read_bundle, verify
from nextitem_client._client import BaseClient, Client
from nextitem_client._exceptions import BundleError
from nextitem_client._in_process import InProcess
from nextitem_client._request import Tensors
from nextitem_client._transport import Address, Reply


class OfflineClient(Client):
    """Answers from a bundle on disk as a server would that serves it: the same graphs, results and errors.

    Args:
        bundle: the bundle's folder, `<repository>/<name>`; the version is the one that its ensemble is pinned to.
        verify: compare every file with the checksums in bundle.json first.
        trust_pickle: open a bundle that holds a pickle (`--features nvtabular`), which can run any code.

    Opening a bundle runs the Python source in it: open only what you or somebody you trust has exported; checksums
    find damage, not malice. Nothing is written. The availability list is read once, here. Threads may share a client.
    Raises BundleError, MissingPackage.
    """

    def __init__(
        self, bundle: Union[str, os.PathLike[str]], *, verify: bool = True, trust_pickle: bool = False
    ) -> None:
        path = Path(bundle).resolve()
        found = _checked(path, verify=verify, trust_pickle=trust_pickle)
        BaseClient.__init__(self, "http://127.0.0.1:1", 1.0)
        self._address = Address(url=str(path), protocol="bundle", tls=False, target="")
        self._model = found.name
        self._signature = found.signature
        self._transport = _BundleTransport(found)

    def __enter__(self) -> OfflineClient:
        self._require_open()
        return self


def _checked(path: Path, *, verify: bool, trust_pickle: bool) -> Bundle:
    bundle = read_bundle(path)
    if bundle.holds_pickle and not trust_pickle:
        raise BundleError(
            f"The bundle {bundle.name} holds a pickled workflow (it was exported with --features nvtabular), and "
            "opening a pickle can run any code. If it is your own, open it with trust_pickle=True (--trust-pickle)."
        )
    if verify:
        _verify(bundle)
    return bundle


_verify = verify  # OfflineClient's argument has the same name


class _BundleTransport:
    """A Transport to the steps in this process."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._steps = InProcess(bundle)

    def ready_models(self) -> list[str]:
        """See Transport."""
        return [self._bundle.name]

    def model_parameters(self, model: str) -> Mapping[str, str]:
        """See Transport; the signature was read from the bundle already."""
        return {}

    def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Reply:
        """See Transport."""
        return Reply(self._steps.answer(inputs, outputs), str(self._bundle.version))

    def close(self) -> None:
        """See Transport."""

"""An existing Dask cluster that fits and runs NVTabular workflows; all that imports dask.

Workers need the environment of the one who starts them and see the output's folder under the same path, since vocabularies are
written there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import dask.dataframe
import numpy as np
import nvtabular as nvt
import pandas as pd
from distributed import Client
from merlin.core.utils import set_dask_client
from pandas.util import hash_array

from nextitem_training.errors import ConfigError

_PATIENCE_S = 10
_PARTITIONS_PER_THREAD = 2
"""More than one, so that threads that are done early take another."""


class Cluster:
    """A cluster's workers, to which rows are sent in partitions of whole sessions."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # its methods are typed as if they might give coroutines

    @property
    def partitions(self) -> int:
        """How many partitions keep all workers busy."""
        threads = sum(self._client.nthreads().values())
        return max(2, _PARTITIONS_PER_THREAD * threads)

    def dataset(self, frame: pd.DataFrame, session_column: str) -> nvt.Dataset:
        """Sends rows to the workers, each session's to one partition, as Groupby does not move rows between them.

        In a partition rows keep their order and are numbered from 0: Categorify finds nulls by these numbers.
        """
        place = hash_array(frame[session_column].to_numpy()) % np.uint64(self.partitions)
        parts = [frame[place == number].reset_index(drop=True) for number in range(self.partitions)]
        # A partition without rows gives Groupby lists without a type.
        sent = self._client.scatter([part for part in parts if len(part)])
        from_delayed = dask.dataframe.from_delayed  # pyright: ignore[reportPrivateImportUsage]  dask lists no __all__
        return nvt.Dataset(from_delayed(sent, meta=frame.iloc[:0], verify_meta=False), cpu=True)


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Has NVTabular run on the cluster with this scheduler, inside the context.

    Raises ConfigError where it does not answer or has no workers.
    """
    _refuse_unusable(address)
    with Client(address, timeout=_PATIENCE_S) as client:
        set_dask_client(client)  # pyright: ignore[reportArgumentType]  the default, "auto", is no type
        try:
            yield Cluster(client)
        finally:
            set_dask_client("auto")


def _refuse_unusable(address: str) -> None:
    """Asks with a client of its own: one that is dask's default and cannot connect stays the default."""
    try:
        client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"There is no Dask scheduler at {address} ({type(error).__name__}); start one with 'dask scheduler' and workers "
            "with 'dask worker ADDRESS', or leave out --dask-scheduler."
        ) from error
    with client:
        if not client.nthreads():
            raise ConfigError(
                f"The Dask scheduler at {address} has no workers; start some with 'dask worker {address}', or leave out "
                "--dask-scheduler."
            )

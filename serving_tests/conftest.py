"""What was trained and exported, and one real Triton that serves most of it for all tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from nextitem_server import TritonServer
from serving_tests.support.bundles import copied
from serving_tests.support.encoding import encode_sessions
from serving_tests.support.made import shop
from serving_tests.support.made.cache import Made, cached
from serving_tests.support.made.shop import ASKED, BUNDLES
from serving_tests.support.processes import running_triton
from serving_tests.support.raw_client import RawClient
from serving_tests.support.served import Served, given

if TYPE_CHECKING:  # seconds, which the process that deals the tests out need not wait for
    from nextitem_training.offline import OfflinePredictor

SERVED = given()
STEP = re.compile("_(features|retrieval|items)$")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With NEXTITEM_SERVED: leave what a server that somebody else runs can be asked."""
    if SERVED is None:
        return
    here = Path(__file__).parent
    left = [item for item in items if here in item.path.parents and not _can_be_asked(item, SERVED)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def _can_be_asked(item: pytest.Item, served: Served) -> bool:
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    words = [word for value in values for word in (value if isinstance(value, tuple) else (value,))]
    names = [STEP.sub("", word) for word in words if isinstance(word, str)]
    bundles = [name for name in names if name in BUNDLES]
    return (
        "server" in item.fixturenames
        and item.get_closest_marker("beside_the_server") is None
        and all(map(served.serves, bundles))
    )


@pytest.fixture(scope="session")
def made() -> Made:
    """What these tests ask, made where it is missing."""
    return cached() if SERVED is None else SERVED.made


@pytest.fixture(scope="session")
def clicks() -> pd.DataFrame:
    """The demo's clicks of some weeks."""
    return shop.clicks()


@pytest.fixture(scope="session")
def run(made: Made) -> Path:
    """A run directory, trained by the command."""
    return made.run("shop")


@pytest.fixture(scope="session")
def warehouse_run(made: Made) -> Path:
    """The same for the warehouse."""
    return made.run("warehouse")


@pytest.fixture(scope="session")
def repository(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with one bundle of the shop of each kind and the warehouse's, exported by the command."""
    if SERVED is not None:
        return SERVED.repository
    return made.repository("repository", tmp_path_factory.mktemp("served") / "model_repository")


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer | Served]:
    """The real tritonserver on free ports, or the one that NEXTITEM_SERVED names."""
    if SERVED is not None:
        yield SERVED
        return
    with running_triton(repository) as running:
        yield running


@pytest.fixture(scope="session", params=ASKED, ids="-".join)
def raw_client(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[RawClient]:
    """Each kind of bundle, over each protocol."""
    name, protocol = request.param
    raw_client = RawClient(protocol, getattr(server, f"{protocol}_url"), name)
    yield raw_client
    raw_client.close()


@pytest.fixture(scope="session")
def signature(repository: Path) -> dict:
    """The signature that clients read."""
    manifest = json.loads((repository / "shop" / "1" / "bundle.json").read_text())
    return manifest["request"]


@pytest.fixture(scope="session")
def reference(run: Path) -> OfflinePredictor:
    """Offline prediction on the raw rows: what is right."""
    return _offline(run)


@pytest.fixture(scope="session")
def warehouse_reference(warehouse_run: Path) -> OfflinePredictor:
    """The same for the warehouse."""
    return _offline(warehouse_run)


def _offline(run: Path) -> OfflinePredictor:
    from nextitem_training.offline import OfflinePredictor
    from nextitem_training.run_directory import RunDirectory

    return OfflinePredictor(RunDirectory.open(run))


@pytest.fixture(scope="session")
def sessions(clicks: pd.DataFrame) -> list[pd.DataFrame]:
    """Held-out sessions in all lengths, raw."""
    return shop.sessions(clicks)


@pytest.fixture(scope="session")
def encode(signature: dict) -> Callable[..., dict[str, np.ndarray]]:
    """Raw sessions to the tensors of a request of the shop."""
    return lambda batch, **options: encode_sessions(signature["features"], batch) | options


@pytest.fixture
def shop_copy(repository: Path, tmp_path: Path) -> Path:
    """A copy of the first bundle that a test may change."""
    return copied(repository / "shop", tmp_path / "repository")


@pytest.fixture
def asked_shop(sessions: list[pd.DataFrame]) -> dict[str, list]:
    """A session for the client."""
    return sessions[0].drop(columns="session_id").to_dict("list")

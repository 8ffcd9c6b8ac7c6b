"""The small shop of support/shop.py, fitted and exported once, and the table of bodies."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:  # seconds, which the process that deals the tests out need not wait for
    from export.tests.support.shop import TinyModel
    from nextitem_export import Bundle
    from nextitem_export.plan import Plan


class BodyTable:
    """What the matrix of bodies measured, printed at the end of the session where it ran beyond the quick ones."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], dict] = {}

    def add(self, body: str, pretraining: str, format_name: str, **figures) -> None:
        self.rows[body, pretraining, format_name] = figures

    def markdown(self) -> str:
        lines = [
            "| body | pre-training | format | parameters | export s | MB | ms, 1 session | ms, 32 | largest difference |",
            "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {' | '.join(key)} | {f['parameters']:,} | {f['seconds']:.1f} | {f['megabytes']:.2f} | {f['ms'][1]:.2f} | "
            f"{f['ms'][32]:.1f} | {f['worst']:.1e} |"
            for key, f in sorted(self.rows.items())
        ]
        return "\n".join(lines)


_TABLE = pytest.StashKey[BodyTable]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table."""
    config.stash[_TABLE] = BodyTable()


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Print the table of bodies."""
    table = config.stash[_TABLE]
    if len(table.rows) > 9:
        terminalreporter.section("bodies")
        terminalreporter.write_line(table.markdown())


@pytest.fixture(scope="session")
def body_table(pytestconfig: pytest.Config) -> BodyTable:
    return pytestconfig.stash[_TABLE]


@pytest.fixture(scope="session")
def shop() -> ModuleType:
    """What other shops are made of."""
    from export.tests.support import shop

    return shop


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For a command that runs in this process: what it sets for its own is set back."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def frame(shop: ModuleType) -> pd.DataFrame:
    return shop.interactions()


@pytest.fixture(scope="session")
def sample(frame) -> pd.DataFrame:
    """Few sessions, since NVTabular answers each of them some forty times in an export."""
    return frame[frame.session_id < 8]


@pytest.fixture(scope="session")
def workflow(shop, frame, tmp_path_factory):
    """The shop's, fitted once. To be read only."""
    fitted = shop.fit(frame, tmp_path_factory.mktemp("workflow"))
    with shop.asked_once(fitted):
        yield fitted


@pytest.fixture(scope="session")
def model(shop, workflow) -> TinyModel:
    return shop.model_for(workflow)


@pytest.fixture(scope="session")
def plan(shop, workflow, model, sample) -> Plan:
    return shop.plan_of(workflow, sample, model)


@pytest.fixture(scope="session")
def steps(shop, plan, tmp_path_factory) -> tuple[Path, Path, Path]:
    """The version folders of features, retrieval and items. To be read only: copy them to tamper with them."""
    return shop.steps_of(plan, tmp_path_factory.mktemp("steps"))


@pytest.fixture(scope="session")
def export_shop(workflow, model, sample, tmp_path_factory):
    """Exports the shop to a repository of its own. To be read only: copy the repository to change it."""
    from nextitem_export import ExportOptions, export_bundle

    def export(rows: pd.DataFrame = sample, **options) -> Bundle:
        return export_bundle(
            model,
            workflow,
            rows,
            repository=tmp_path_factory.mktemp("exported") / "repository",
            name="shop",
            tie_breaker_column="position",
            options=ExportOptions(**options),
            made_from={"run": "a run"},
        )

    return export


@pytest.fixture(scope="session")
def bundle(export_shop) -> Bundle:
    """The shop with the defaults."""
    return export_shop()


@pytest.fixture(scope="session")
def nvtabular_bundle(export_shop, sample) -> Bundle:
    """The shop with NVTabular itself as its features step."""
    return export_shop(sample[sample.session_id < 3], features="nvtabular")

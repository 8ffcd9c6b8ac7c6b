"""How hypothesis draws examples, the same ones each time or with --hypothesis-profile=deep new ones, and the order of files."""

import gc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadfile import LoadFileScheduling

ROOT = Path(__file__).parent

# Examples take unlike times on a busy machine, which says nothing about the code.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Where CI is in the environment hypothesis derandomizes what has no parent, so both name theirs.
_DEFAULT = settings.get_profile("default")
settings.register_profile("quick", _DEFAULT, derandomize=True, max_examples=30, **_PATIENT)
settings.register_profile("deep", _DEFAULT, max_examples=100, print_blob=True, **_PATIENT)
settings.load_profile("quick")


#: Where the files ask the one large server, of which each worker that runs one of them starts its own.
_CONTRACT = "serving_tests/contract/"
_OTHERS = tuple(
    f"serving_tests/{file}.py"
    for file in (
        "faults/test_hostile_requests",
        "faults/test_newcomers_mistakes",
        "faults/test_processes",
        "measured/test_metric_names",
        "test_client_and_commands",
        "test_offline",
    )
)


class FilesInLots(LoadFileScheduling):
    """Deals files to workers, those that ask the large server in two lots: its start takes a core ten seconds."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file.startswith(_CONTRACT):
            return _CONTRACT
        return _OTHERS[0] if file in _OTHERS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesInLots | None:
    """For --dist=loadfile."""
    return FilesInLots(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files of each folder over the whole run: those that wait for servers run beside those that train."""
    files = dict.fromkeys(item.path for item in items)
    folders: dict[str, list[Path]] = {}
    for file in files:
        folders.setdefault(file.relative_to(ROOT).parts[0], []).append(file)
    place = {file: (i + 0.5) / len(files) for files in folders.values() for i, file in enumerate(files)}
    items.sort(key=lambda item: place[item.path])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let no later collection of garbage look through what was imported: torch's and pandas' modules are a million objects."""
    gc.collect()
    gc.freeze()

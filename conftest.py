"""How hypothesis draws examples, the same ones each time or with --hypothesis-profile=deep new ones, and the order of files."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent

# Examples take unlike times on a busy machine, which says nothing about the code.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Where CI is in the environment hypothesis derandomizes what has no parent, so both name theirs.
_DEFAULT = settings.get_profile("default")
settings.register_profile("quick", _DEFAULT, derandomize=True, max_examples=30, **_PATIENT)
settings.register_profile("deep", _DEFAULT, max_examples=100, print_blob=True, **_PATIENT)
settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files of each folder over the whole run: those that wait for servers run beside those that train."""
    files = dict.fromkeys(item.path for item in items)
    folders: dict[str, list[Path]] = {}
    for file in files:
        folders.setdefault(file.relative_to(ROOT).parts[0], []).append(file)
    place = {file: (i + 0.5) / len(files) for files in folders.values() for i, file in enumerate(files)}
    items.sort(key=lambda item: place[item.path])

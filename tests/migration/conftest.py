"""Which libraries are there: the tests of a source run where scripts/test-migration installed its library."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parent
collect_ignore = [
    f"test_{lock.stem}.py" for lock in FOLDER.glob("*.lock") if importlib.util.find_spec(lock.stem) is None
]

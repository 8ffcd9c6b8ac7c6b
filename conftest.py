"""How hypothesis draws examples, and which tests run in one process.

Examples are the same ones each time, or, with --hypothesis-profile=deep, new ones and many. Tests of one file run in one
process, and so do all files that ask the server of serving_tests, which takes a quarter of a minute to start.
"""

import pytest
from hypothesis import HealthCheck, settings

# Examples take unlike times on a busy machine, which says nothing about the code.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Where CI is in the environment hypothesis derandomizes what has no parent, so both name theirs.
_DEFAULT = settings.get_profile("default")
settings.register_profile("quick", _DEFAULT, derandomize=True, max_examples=30, **_PATIENT)
settings.register_profile("deep", _DEFAULT, max_examples=100, print_blob=True, **_PATIENT)
settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests for --dist=loadgroup."""
    asking = {item.path for item in items if "server" in item.fixturenames and "serving_tests" in item.path.parts}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("the server" if item.path in asking else str(item.path)))

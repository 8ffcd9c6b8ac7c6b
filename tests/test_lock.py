"""requirements.in is one exact list, the lock has its hashes, and both agree with what the packages declare."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PINS = ROOT / "requirements.in"
LOCK = ROOT / "requirements.lock"
PACKAGES = ["bundle", "training", "export", "server", "client"]
PYTHONS = ["3.10", "3.11"]
PIN = re.compile(r'[\w.\-]+==[\w.]+(; python_version (<|>=) "3\.11")?')
#: What others declare and nothing imports: installed with --no-deps the lock goes without it.
NOT_INSTALLED = {"dask-cuda"}


def applies(requirement: Requirement, python: str) -> bool:
    """Whether the requirement's marker, if it has one, holds under `python`."""
    return requirement.marker is None or requirement.marker.evaluate(
        {"python_version": python, "python_full_version": f"{python}.1"}
    )


def pins(python: str, file: Path = PINS) -> dict[str, str]:
    """Version by canonical name under `python`; raises ValueError where a name comes twice."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        if not line or line.startswith(("#", " ")):
            continue
        requirement = Requirement(line.rstrip(" \\"))
        if not applies(requirement, python):
            continue
        name = canonicalize_name(requirement.name)
        if name in found:
            raise ValueError(f"{file.name} pins {name} twice for Python {python}; keep one line.")
        found[name] = str(requirement.specifier).removeprefix("==")
    return found


def test_every_line_is_one_exact_version_in_order():
    lines = [x for x in PINS.read_text().splitlines() if x and not x.startswith("#")]
    wrong = [line for line in lines if not PIN.fullmatch(line)]
    assert not wrong, f"{PINS.name}: write name==version, not {wrong}"
    names = [line.split("==")[0].lower().replace("_", "-") for line in lines]
    assert names == sorted(names), f"{PINS.name}: keep the lines sorted by name"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_the_same_versions_each_with_hashes(python):
    assert pins(python, LOCK) == pins(python), f"{LOCK.name} is older than {PINS.name}: run make lock"
    blocks = re.findall(r"^[\w.-]+==.*(?:\n    .*)*", LOCK.read_text(), re.MULTILINE)
    bare = [block.split()[0] for block in blocks if not re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}\b", block)]
    assert len(blocks) == len([x for x in PINS.read_text().splitlines() if x and not x.startswith("#")])
    assert not bare, f"{LOCK.name} has no hash of {', '.join(bare)}: run make lock"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("package", PACKAGES)
def test_the_lock_satisfies_what_a_package_declares(package, python):
    pyproject = ROOT / package / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    declared = list(project["dependencies"])
    for extra in project.get("optional-dependencies", {}).values():
        declared += extra
    locked = pins(python)
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        if name.startswith("nextitem-") or name in NOT_INSTALLED or not applies(requirement, python):
            continue
        assert name in locked, f"{pyproject}: {requirement} is not in {PINS.name}; add it there"
        assert requirement.specifier.contains(locked[name], prereleases=True), (
            f"{pyproject} asks for {requirement}, and {PINS.name} has {locked[name]}; change one"
        )


# What comes along with a declared package, by the name under which it is imported.
ALONG = {"dask": "nvtabular", "google": "tritonclient", "merlin": "nvtabular"}
# Triton itself brings it.
IN_TRITON = {"triton_python_backend_utils"}


@pytest.mark.parametrize("package", ["training", "export"])
def test_what_a_package_imports_is_declared(package):
    declared = {
        canonicalize_name(Requirement(line).name)
        for name in ("training", package)  # export needs training, and has what that needs
        for line in tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    distributions = packages_distributions()
    for path in (ROOT / package).glob("nextitem_*/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - IN_TRITON:
                known = {canonicalize_name(of) for of in [ALONG.get(name, name), *distributions.get(name, [])]}
                if not name.startswith("nextitem_"):
                    assert known & declared, (
                        f"{path}:{node.lineno} imports {name}: declare it in {package}/pyproject.toml"
                    )

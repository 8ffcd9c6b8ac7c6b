"""What is written in a bundle is read and written by one implementation, in nextitem_bundle."""

import re
from collections import Counter

import pytest

from tests.support.repository_files import ROOT, our_files, text_of

PACKAGES = ("bundle", "training", "export", "server", "client")

#: What an implementation would have in it, and the one file of the packages that may.
HOMES = {
    "checksums of files": (r"while block := \w+\.read", {"bundle/nextitem_bundle/checksums.py"}),
    "the manifest": (r'"bundle\.json"', {"bundle/nextitem_bundle/manifest.py"}),
    "the signature": (r'"max_interactions_per_session":', {"bundle/nextitem_bundle/runtime/signature.py"}),
    "version pins": (r"version_policy", {"bundle/nextitem_bundle/versions.py", "bundle/nextitem_bundle/config.py"}),
    "kinds and datatypes": (r'"datetime": "INT64"', {"bundle/nextitem_bundle/runtime/wire.py"}),
    "datatypes and dtypes": (r'"FP32": \(?np\.(dtype|float32)', {"bundle/nextitem_bundle/runtime/wire.py"}),
    "tensors' own names": (
        r'"exclude_item_ids", "allow_item_ids", "exclude_seen"',
        {"bundle/nextitem_bundle/names.py"},
    ),
    "kinds of steps": (r'"retrieval_ann"', {"bundle/nextitem_bundle/runtime/steps.py"}),
}
#: FakeServer writes a signature as a server sends it, and the client's filters name three tensors.
ELSEWHERE = {"client/nextitem_client/testing.py", "client/nextitem_client/_wire/filters.py"}


def sources() -> dict[str, str]:
    """Our packages' modules, without their tests."""
    found = {path.relative_to(ROOT).as_posix(): text_of(path) or "" for path in our_files() if path.suffix == ".py"}
    return {name: text for name, text in found.items() if re.match(rf"({'|'.join(PACKAGES)})/nextitem_", name)}


@pytest.mark.parametrize("what", HOMES)
def test_each_has_one_implementation(what):
    pattern, homes = HOMES[what]
    found = {name for name, text in sources().items() if re.search(pattern, text)}
    assert homes <= found
    assert found <= homes | ELSEWHERE


def test_settings_are_no_mappings_of_anything():
    wrong = re.compile(r"(settings|options)\w*: (dict|Mapping)\[str, Any\]")
    found = [
        f"{name}: {match[0]}"
        for name, text in sources().items()
        if name.startswith(("bundle/", "export/"))
        for match in wrong.finditer(text)
    ]
    assert not found


def test_a_package_is_no_heap_of_files():
    modules = list(sources())
    # Without what takes the models of others, one file a library, and without what updates a catalogue by itself.
    further = ("/adapters/", "/model_files/", "/catalogue/")
    own = [name for name in modules if not any(folder in name for folder in further)]
    assert sum(name.startswith("export/") for name in own) <= 90
    assert sum(name.startswith("client/") for name in modules) <= 32


def test_no_folder_is_a_heap_of_files():
    folders = Counter(path.parent.relative_to(ROOT).as_posix() for path in our_files() if path.suffix == ".py")
    # One file an operator, and one a body.
    heaps = {
        folder: count for folder, count in folders.items() if count > 15 and not folder.endswith(("/ops", "/bodies"))
    }
    assert not heaps

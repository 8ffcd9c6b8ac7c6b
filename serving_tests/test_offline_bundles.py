"""What OfflineClient opens, what it refuses, and that it leaves a bundle as it was."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nextitem_client import BundleError, MissingPackage, OfflineClient, RequestRejected, UnsupportedSignature
from serving_tests.support.bundles import accept, change, copied, files


def test_opening_and_asking_changes_no_file_and_needs_no_other_package(shop_copy, asked_shop) -> None:
    before = files(shop_copy)
    shop_copy.parent.chmod(0o555)
    code = f"""
import sys
siblings = ("nextitem_export", "nextitem_training", "nextitem_server", "torch", "pandas", "nvtabular")
sys.modules.update(dict.fromkeys(siblings))
from nextitem_client import OfflineClient
print(OfflineClient({str(shop_copy)!r}).recommend({json.dumps(asked_shop, default=str)}, k=3).item_ids)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    shop_copy.parent.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("['")
    assert files(shop_copy) == before


def test_code_without_a_checksum_is_not_run(shop_copy, asked_shop, tmp_path) -> None:
    runtime = shop_copy.parent / "shop_features" / "1" / "nextitem_runtime"
    (runtime / "onnxruntime.py").write_text("raise SystemExit('ran')")
    other = tmp_path / "step.py"
    other.write_text("raise SystemExit('ran')")
    compiled = runtime / "__pycache__" / f"step.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(other), str(compiled), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    with (runtime / "__init__.py").open("a") as text:
        text.write("# A runtime that this process has not imported yet.\n")
    accept(shop_copy, runtime / "__init__.py")
    assert OfflineClient(shop_copy).recommend(asked_shop).status == "ok"


@pytest.mark.parametrize(
    "name", ["shop_retrieval/1/model.onnx", "shop_features/1/nextitem_runtime/step.py", "shop_items/config.pbtxt"]
)
def test_a_file_that_was_changed_is_named(shop_copy, name) -> None:
    file = shop_copy.parent / name
    file.write_bytes(file.read_bytes() + b"\nmax_batch_size: 7\n")
    with pytest.raises(BundleError, match=rf"{name} is not the file that was exported: its sha256 is .* verify=False"):
        OfflineClient(shop_copy)
    file.unlink()
    with pytest.raises(BundleError, match=rf"{name} cannot be read \(No such file"):
        OfflineClient(shop_copy)


def test_the_availability_list_acts_and_has_no_checksum(shop_copy, asked_shop) -> None:
    best = OfflineClient(shop_copy).recommend(asked_shop, k=2).item_ids
    availability = shop_copy.parent / "shop_retrieval" / "1" / "availability.json"
    availability.write_text(json.dumps({"unavailable": best[:1]}))
    assert OfflineClient(shop_copy).recommend(asked_shop, k=1).item_ids == best[1:]
    availability.write_text("{}")
    with pytest.raises(BundleError, match=r"shop_retrieval/1 cannot be opened: AvailabilityError: .*must hold"):
        OfflineClient(shop_copy)


def pickle_that_makes(path: Path) -> bytes:
    """A pickle that calls os.mknod(path) when it is loaded."""
    return f"cos\nmknod\n(V{path}\ntR.".encode()


def test_a_pickle_is_refused_unless_trusted(repository, tmp_path) -> None:
    bundle = copied(repository / "shop_nvtabular", tmp_path / "repository")
    features, made = bundle.parent / "shop_nvtabular_features" / "1", tmp_path / "made"
    (features / "workflow" / "workflow.pkl").write_bytes(pickle_that_makes(made))
    accept(bundle, features / "workflow" / "workflow.pkl")
    sentence = r"holds a pickled workflow .* trust_pickle=True \(--trust-pickle\)"
    with pytest.raises(BundleError, match=sentence):
        OfflineClient(bundle)
    change(bundle / "1" / "bundle.json", '"holds_pickle": true', '"holds_pickle": false')
    with pytest.raises(BundleError, match=sentence):  # whatever the manifest says
        OfflineClient(bundle)
    assert not made.exists()
    with pytest.raises(BundleError):
        OfflineClient(bundle, trust_pickle=True)
    assert made.exists(), "it would have"


@pytest.mark.parametrize("file", ["shop_features/1/item_codes.npy", "shop_torchscript_retrieval/1/model.pt"])
def test_a_pickle_in_place_of_data_is_not_opened(repository, tmp_path, file) -> None:
    name = file.split("_retrieval")[0].split("_features")[0]
    bundle, made = copied(repository / name, tmp_path / "repository"), tmp_path / "made"
    replaced = bundle.parent / file
    if file.endswith(".npy"):
        with replaced.open("wb") as content:
            np.lib.format.write_array_header_1_0(content, {"descr": "|O", "fortran_order": False, "shape": (1,)})
            content.write(pickle_that_makes(made))
    else:
        replaced.write_bytes(pickle_that_makes(made))
    accept(bundle, replaced)
    with pytest.raises(BundleError, match="cannot be opened"):
        OfflineClient(bundle)
    assert not made.exists()


def test_folders_that_are_no_bundle(repository, shop_copy, tmp_path) -> None:
    for path, expected in (
        (shop_copy.parent, r"is a model repository; name one of its bundles: shop\."),
        (shop_copy.parent / "shop_items", r"has no nextitem\.signature\. .* is a step of a bundle"),
        (tmp_path, r"is no bundle: it has no config\.pbtxt"),
        (tmp_path / "gone", r"gone does not exist; expected is the folder of a bundle"),
        (shop_copy / "config.pbtxt", r"config\.pbtxt is a file; expected is the folder of a bundle"),
    ):
        with pytest.raises(BundleError, match=expected):
            OfflineClient(path)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "shop/1/bundle.json",
            '"format_version": 2,\n "name"',
            '"format_version": 9,\n "name"',
            "has format_version 9",
        ),
        ("shop/1/bundle.json", '"models"', '"model"', "cannot be read as the manifest of 'shop'"),
        ("shop/config.pbtxt", "version_policy", "max_batch_size: 0 version", "cannot be read as the configuration"),
        ("shop/config.pbtxt", "specific {\n    versions: 1\n  }", "all { }", "does not pin the bundle"),
        ("shop/config.pbtxt", "shop_items", "shop_gone", "shop_gone/1 is missing"),
        ("shop_items/1/step.json", '"items"', '"magic"', "shop_items/1 cannot be opened: StepError: .*magic"),
    ],
)
def test_bundles_that_cannot_be_opened(shop_copy, name, old, new, expected) -> None:
    change(shop_copy.parent / name, old, new)
    with pytest.raises(BundleError, match=expected):
        OfflineClient(shop_copy, verify=False)


def test_a_newer_signature(shop_copy) -> None:
    change(shop_copy / "config.pbtxt", r"\"format_version\": 2", r"\"format_version\": 9")
    with pytest.raises(UnsupportedSignature, match="format"):
        OfflineClient(shop_copy, verify=False)


def test_another_runtime(shop_copy) -> None:
    (shop_copy.parent / "shop_items" / "1" / "step.json").unlink()
    with pytest.raises(BundleError, match=r"holds no nextitem_runtime with a step\.json"):
        OfflineClient(shop_copy, verify=False)


@pytest.mark.parametrize(("name", "missing"), [("shop", "onnxruntime"), ("shop_torchscript", "torch")])
def test_a_missing_library_is_named_with_its_installation(repository, tmp_path, monkeypatch, name, missing) -> None:
    bundle = copied(repository / name, tmp_path / "repository")
    for step in ("features", "retrieval", "items"):  # not imported yet in this process
        runtime = bundle.parent / f"{name}_{step}" / "1" / "nextitem_runtime"
        (runtime / "__init__.py").write_text(f'"""Without {missing}."""\n')
    monkeypatch.setitem(sys.modules, missing, None)
    install = {"onnxruntime": r"'nextitem-client\[offline\]'", "torch": r"'torch>=\d[\d.]+'"}[missing]
    with pytest.raises(MissingPackage, match=rf"needs {missing}, which cannot be imported .* pip install {install}$"):
        OfflineClient(bundle, verify=False)


def test_an_older_python(repository, monkeypatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(BundleError, match=r"needs Python 3\.10, this is 3\.9: ask a server instead"):
        OfflineClient(repository / "shop")


def test_a_step_that_fails_has_the_servers_words(shop_copy, asked_shop) -> None:
    graph = shop_copy.parent / "shop_items" / "1" / "nextitem_runtime" / "graphs" / "onnx.py"
    change(
        graph,
        "        values = self._session.run(",
        "        raise KeyError('oh')\n        values = self._session.run(",
    )
    with pytest.raises(RequestRejected, match=r"^step shop_items failed: KeyError: 'oh'$"):
        OfflineClient(shop_copy, verify=False).recommend(asked_shop)

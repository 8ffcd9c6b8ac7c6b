from __future__ import annotations

import pytest

from nextitem_bundle.checksums import checksums_of, verify
from nextitem_bundle.errors import BundleError
from nextitem_bundle.manifest import Manifest, read_manifest

MODELS = ("shop_features", "shop")
CONFIG = 'name: "{model}"\nversion_policy {{\n  specific {{\n    versions: 1\n  }}\n}}\nbackend: "python"\n'


@pytest.fixture
def manifest(tmp_path):
    """A version of two models, each with a configuration of its own and one that all versions share."""
    for model in MODELS:
        (tmp_path / model / "1").mkdir(parents=True)
        for place in ("", "1"):
            (tmp_path / model / place / "config.pbtxt").write_text(CONFIG.format(model=model))
    (tmp_path / "shop_features" / "1" / "model.onnx").write_bytes(bytes(3 << 20))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    Manifest("shop", 1, MODELS, checksums_of(tmp_path, files)).write(tmp_path)
    return read_manifest(tmp_path, "shop", 1)


@pytest.mark.parametrize("answers", [True, False])
def test_an_untouched_version_passes(manifest, tmp_path, answers):
    assert manifest.sha256["shop_features/1/model.onnx"].startswith("bbd05cf609")
    verify(tmp_path, manifest, answers=answers)


@pytest.mark.parametrize("name", ["shop_features/1/model.onnx", "shop/1/config.pbtxt"])
@pytest.mark.parametrize("answers", [True, False])
def test_a_file_that_was_changed_or_is_gone_is_named(manifest, tmp_path, name, answers):
    file = tmp_path / name
    file.write_bytes(file.read_bytes() + b"\n")
    what = rf"{name} is not the file that was exported: its sha256 is \w+, and bundle.json of 'shop' version 1 says \w+"
    with pytest.raises(BundleError, match=what):
        verify(tmp_path, manifest, answers=answers)
    file.unlink()
    with pytest.raises(
        BundleError, match=rf"{name} cannot be read \(No such file.*bundle.json of 'shop' version 1 lists"
    ):
        verify(tmp_path, manifest, answers=answers)


def test_a_configuration_during_a_switch_is_right_and_any_other_change_of_it_wrong(manifest, tmp_path):
    config = tmp_path / "shop" / "config.pbtxt"
    text = config.read_text()
    config.write_text(text.replace("versions: 1", "versions: [1, 2]"))
    verify(tmp_path, manifest, answers=True)
    config.write_text(text.replace("python", "pytorch"))
    verify(tmp_path, manifest, answers=False)  # it is another version's
    with pytest.raises(BundleError, match=r"shop/config.pbtxt is not the file"):
        verify(tmp_path, manifest, answers=True)

from __future__ import annotations

import json

import pytest

from nextitem_bundle.errors import BundleError
from nextitem_bundle.manifest import CatalogueSummary, Manifest, manifest_path, read_manifest
from nextitem_bundle.signature import FORMAT_VERSION

MANIFEST = Manifest(
    "shop",
    3,
    ("shop_items", "shop"),
    {"shop/3/a": "12ab"},
    layout="ensemble",
    fell_out={"onnx": "no operator"},
    libraries={"onnx": None},
    catalogue=CatalogueSummary(214, 3, ("category", "price"), "2026-12-01T02:00:00+00:00"),
)


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "shop" / "3").mkdir(parents=True)
    MANIFEST.write(tmp_path)
    return tmp_path


def change(repository, **changes):
    path = manifest_path(repository, "shop", 3)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_written_is_read(repository):
    assert read_manifest(repository, "shop", 3) == MANIFEST


def test_keys_of_later_exporters_are_ignored_and_missing_ones_empty(repository):
    change(repository, colour="blue")
    assert read_manifest(repository, "shop", 3) == MANIFEST
    document = {"format_version": FORMAT_VERSION, "models": ["shop"], "sha256": {}}
    manifest_path(repository, "shop", 3).write_text(json.dumps(document))
    assert read_manifest(repository, "shop", 3) == Manifest("shop", 3, ("shop",), {})


@pytest.mark.parametrize(
    ("document", "summary"),
    [
        (None, None),
        ({"items": 5, "colour": "blue"}, CatalogueSummary(5)),
        (
            {"refused": "native: export with --runtime python"},
            CatalogueSummary(refused="native: export with --runtime python"),
        ),
    ],
)
def test_what_a_manifest_says_of_the_catalogue(repository, document, summary):
    change(repository, catalogue=document)
    assert read_manifest(repository, "shop", 3).catalogue == summary


@pytest.mark.parametrize(
    ("version", "remedy"), [(1, "export the bundle again"), (99, "upgrade the nextitem packages here")]
)
def test_another_format_is_refused_with_the_remedy(repository, version, remedy):
    change(repository, format_version=version)
    with pytest.raises(
        BundleError, match=f"has format_version {version}, and this program reads {FORMAT_VERSION}: {remedy}"
    ):
        read_manifest(repository, "shop", 3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"models": []}, "IndexError"),
        ({"models": ["other"]}, "it is that of other"),
        ({"sha256": 3}, "TypeError"),
        ({"catalogue": "many"}, "AttributeError"),
        ({"catalogue": {"items": "many"}}, "ValueError"),
    ],
)
def test_a_damaged_one_is_refused(repository, changes, why):
    change(repository, **changes)
    with pytest.raises(BundleError, match=rf"cannot be read as the manifest of 'shop' \({why}.*export or copy"):
        read_manifest(repository, "shop", 3)


def test_a_missing_one_is_refused(repository):
    with pytest.raises(BundleError, match=r"bundle.json cannot be read .*No such file"):
        read_manifest(repository, "shop", 4)

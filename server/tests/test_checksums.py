import hashlib
import json

import pytest

from nextitem_bundle.signature import FORMAT_VERSION
from nextitem_server import RepositoryError, TritonServer
from nextitem_server.checksums import verify_bundles
from nextitem_server.repository import check_repository

CONFIG = 'name: "{0}"\nversion_policy {{\n  specific {{\n    versions: {1}\n  }}\n}}\n{2}'


@pytest.fixture
def exported(tmp_path):
    """A bundle of one step in two versions, of which the first answers; of the second nothing is right."""
    digests = {}
    for model, more in (
        ("shop_retrieval", "max_batch_size: 64\n"),
        ("shop", 'parameters { key: "nextitem.signature" }\n'),
    ):
        text = CONFIG.format(model, 1, more)
        for path, content in (
            (f"{model}/config.pbtxt", "# why\n" + text),
            (f"{model}/1/config.pbtxt", "# why\n" + text),
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
            digests[path] = hashlib.sha256(content.encode()).hexdigest()
    (tmp_path / "shop_retrieval" / "1" / "graph").write_text("weights")
    digests["shop_retrieval/1/graph"] = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "shop" / "1" / "bundle.json").write_text(
        json.dumps({"format_version": FORMAT_VERSION, "models": ["shop_retrieval", "shop"], "sha256": digests})
    )
    (tmp_path / "shop" / "2").mkdir()
    return tmp_path


def test_what_was_exported_passes_and_what_was_not_is_left_alone(exported):
    verify_bundles(exported, check_repository(exported))
    (exported / "shop_retrieval" / "1" / "availability.json").write_text("{}")
    (exported / "shop_retrieval" / "config.pbtxt").write_text(
        CONFIG.format("shop_retrieval", "[1, 2]", "max_batch_size: 64\n")
    )
    verify_bundles(exported, check_repository(exported))  # as an interrupted switch leaves it
    (exported / "own").mkdir()
    (exported / "own" / "config.pbtxt").write_text('name: "own" parameters { key: "nextitem.signature" }')
    verify_bundles(exported, check_repository(exported))


@pytest.mark.parametrize("name", ["shop_retrieval/1/graph", "shop_retrieval/config.pbtxt", "shop/1/config.pbtxt"])
def test_a_changed_file_is_refused_before_the_start(exported, name):
    file = exported / name
    file.write_bytes(file.read_bytes() + b"\nmax_batch_size: 1\n")
    with pytest.raises(
        RepositoryError, match=rf"{name} is not the file .*: its sha256 .* 'shop' version 1 says .*--no-verify"
    ):
        TritonServer(exported).start()
    file.unlink()
    with pytest.raises(RepositoryError, match=rf"{name} cannot be read .* 'shop' version 1 lists it.*--no-verify"):
        verify_bundles(exported, check_repository(exported))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sha256": 3}'])
def test_a_manifest_that_cannot_be_read(exported, text):
    manifest = exported / "shop" / "1" / "bundle.json"
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    with pytest.raises(
        RepositoryError, match=r"1/bundle.json cannot be read as the manifest of 'shop' \(.*--no-verify"
    ):
        verify_bundles(exported, check_repository(exported))

from __future__ import annotations

import shutil

import pytest

from nextitem_export import RepositoryError
from nextitem_export.verify import verify


@pytest.fixture
def repository(bundle, tmp_path):
    return shutil.copytree(bundle.repository, tmp_path / "repository")


def test_an_untouched_bundle_and_what_operators_change_pass(repository):
    verify(repository, "shop", 1)
    (repository / "shop_ranker" / "1" / "availability.json").write_text('{"unavailable": ["ø1"]}')
    (repository / "shop_ranker" / "1" / "__pycache__").unlink()
    (repository / "shop_ranker" / "config.pbtxt").write_text("of the version that answers, during a switch of both")
    verify(repository, "shop", 1)


@pytest.mark.parametrize(
    "name",
    [
        "shop_ranker/1/model.onnx",
        "shop/1/config.pbtxt",
        "shop_items/1/nextitem_runtime/step.py",
        "shop_features/warmup/session-price",
    ],
)
def test_a_file_that_was_changed_or_is_gone_is_named(repository, name):
    file = repository / name
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(
        RepositoryError, match=rf"{name} is not the file that was exported: its sha256 is .* 'shop' version 1"
    ):
        verify(repository, "shop", 1)
    file.unlink()
    with pytest.raises(RepositoryError, match=rf"{name} cannot be read \(No such file.*nothing was changed"):
        verify(repository, "shop", 1)

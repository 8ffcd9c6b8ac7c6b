from __future__ import annotations

import pytest

from nextitem_export import ExportError, export_run


def test_a_missing_run_is_refused_with_how_to_make_one(tmp_path):
    with pytest.raises(ExportError) as caught:
        export_run(tmp_path / "nowhere", repository=tmp_path / "repository", name="shop")
    assert f"no run directory {tmp_path / 'nowhere'}" in str(caught.value)
    assert "nextitem-train" in str(caught.value)
    assert not (tmp_path / "repository").exists()


def test_an_incomplete_run_is_refused_with_what_is_missing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(ExportError) as caught:
        export_run(tmp_path / "run", repository=tmp_path / "repository", name="shop")
    assert "model.safetensors" in str(caught.value)
    assert "missing" in str(caught.value)

import pytest

from nextitem_server import RepositoryError
from nextitem_server.repository import check_repository


def test_lists_the_models(bundle):
    assert check_repository(bundle) == ["shop", "shop_features"]


def test_a_missing_and_an_empty_repository_say_how_to_export(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(RepositoryError, match=rf"{path} .*nextitem-export --run .*{path}"):
            check_repository(path)
    assert check_repository(tmp_path, may_be_empty=True) == []


def test_a_file_and_a_model_are_no_repositories(bundle):
    with pytest.raises(RepositoryError, match="is a file"):
        check_repository(bundle / "shop" / "config.pbtxt")
    with pytest.raises(RepositoryError, match=rf"is a model, .* {bundle}"):
        check_repository(bundle / "shop")

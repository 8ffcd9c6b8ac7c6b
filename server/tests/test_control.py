import pytest

from nextitem_server import InvalidOption
from nextitem_server.control import control_options, key_from, new_key


def test_everything_is_loaded_on_request_and_at_the_start():
    given = control_options(["--log-verbose=1"], ["shop", "shop_features"])
    loaded = ["--load-model=shop", "--load-model=shop_features"]
    assert given == ["--model-control-mode=explicit", *loaded, "--strict-readiness=false"]


def test_what_the_caller_gives_himself_is_left_to_him():
    assert control_options(["--model-control-mode=none"], ["shop"]) == []
    given = ["--load-model=shop", "--strict-readiness", "true"]
    assert control_options(given, ["shop", "other"]) == ["--model-control-mode=explicit"]


def test_a_key_file_is_made_for_its_owner_alone_and_read_again(tmp_path):
    file = tmp_path / "key"
    key = key_from(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert key_from(file) == key == file.read_text().strip()
    assert len({new_key(), new_key(), key}) == 3


@pytest.mark.parametrize("text", ["", "short", "a key with blanks in it", "ümlaute-und-noch-mehr"])
def test_a_key_that_is_none(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(InvalidOption, match=r"expected is a key of at least 16 letters.*Remove the file"):
        key_from(tmp_path / "key")


def test_a_key_file_that_cannot_be_made(tmp_path):
    with pytest.raises(InvalidOption, match=r"none/key: it can be neither read nor made \(No such file"):
        key_from(tmp_path / "none" / "key")

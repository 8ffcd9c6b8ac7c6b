import pytest

from nextitem_client import AsyncClient, Client, InvalidOption


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_s": "5"}, r"timeout_s is '5'; expected is a number of seconds > 0"),
        ({"connect_timeout_s": 0}, "connect_timeout_s is 0; expected is a number"),
        ({"retries": -1}, "retries is -1; expected is an int, 0 or more"),
        ({"retries": True}, "retries is True; expected is an int"),
        ({"pool_size": 0}, "pool_size is 0; expected is an int, 1 or more"),
        ({"compression": "brotli"}, "compression is 'brotli'; expected is 'gzip' or None"),
        ({"headers": [("a", "b")]}, "headers is a list; expected is a dict"),
        ({"headers": {"a b": "c"}}, "header name 'a b' cannot be sent"),
        ({"headers": {5: "c"}}, "header name 5 cannot be sent"),
        ({"headers": {"Content-Length": "5"}}, "header Content-Length is the client's own"),
        ({"headers": {"key": "secret\r\nevil: 1"}}, r"value of header key \(str\) cannot be sent"),
        ({"headers": {"key": None}}, r"value of header key \(NoneType\) cannot be sent"),
    ],
)
def test_what_cannot_be_meant(kind, options, message):
    with pytest.raises(InvalidOption, match=message) as caught:
        kind("http://127.0.0.1:1", **options)
    assert "secret" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_shown():
    with pytest.raises(InvalidOption, match="give credentials in headers") as caught:
        Client("http://user:secret@127.0.0.1:8000")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient], ids=lambda kind: kind.__name__)
def test_an_option_that_is_not_there_is_an_unexpected_argument(kind):
    with pytest.raises(TypeError, match="unexpected keyword argument 'shared_memory'"):
        kind("http://127.0.0.1:1", "shop", shared_memory=True)

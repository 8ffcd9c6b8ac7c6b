from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bundle.tests.support.requests import SIGNATURE, request
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nextitem_bundle.runtime.request import (
    Request,
    RequestError,
    read_request,
    read_shape,
    read_top_k,
)
from nextitem_bundle.runtime.signature import Feature
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32, NULL_INT64


def int32(*values: int) -> np.ndarray:
    return np.array([[value] for value in values], dtype=np.int32)


def refusal(tensors) -> str:
    with pytest.raises(RequestError) as caught:
        read_request(tensors, SIGNATURE)
    return str(caught.value)


def test_valid_interactions_come_back_flat_and_in_order():
    read = read_request(request(session_length=int32(1, 3)), SIGNATURE)
    assert read.lengths.tolist() == [1, 3]
    assert read.sessions.tolist() == [0, 1, 1, 1]
    assert read.columns["timestamp"].tolist() == [0, 3, 4, 5]
    assert read.columns["item_id"].tolist() == ["a"] * 4


def test_without_lengths_all_interactions_are_valid_and_top_k_is_the_default():
    read = read_request(request(), SIGNATURE)
    assert read.lengths.tolist() == [3, 3]
    assert read.top_k == SIGNATURE.top_k_default


def test_top_k_is_read():
    assert read_request(request(top_k=int32(9, 9)), SIGNATURE).top_k == 9


def test_null_prices_are_nan_whether_sent_as_nan_or_as_the_lowest_float():
    price = np.array([[np.nan, LOWEST_FLOAT32, 2.0]], dtype=np.float32)
    read = read_request(request(1, price=price), SIGNATURE)
    np.testing.assert_array_equal(read.columns["price"], [np.nan, np.nan, 2.0])


def test_padding_may_hold_anything():
    tensors = request(
        1,
        item_id=np.array([[b"a", b"\xff", b"far beyond the limit"]], dtype=object),
        price=np.array([[1, np.inf, -np.inf]], dtype=np.float32),
        session_length=int32(1),
    )
    assert read_request(tensors, SIGNATURE).columns["item_id"].tolist() == ["a"]


def test_utf8_is_decoded_and_measured_in_bytes():
    tensors = request(1, 1, item_id=np.array([["øøøø".encode()]], dtype=object))
    assert read_request(tensors, SIGNATURE).columns["item_id"].tolist() == ["øøøø"]
    tensors["item_id"][0, 0] = "øøøøo".encode()
    message = refusal(tensors)
    assert "'item_id' has 9 bytes in session 0, interaction 0" in message
    assert "at most 8" in message


@pytest.mark.parametrize(
    ("tensors", "parts"),
    [
        ({}, ["missing inputs 'item_id', 'timestamp', 'price'", "[sessions, interactions]"]),
        (request(price=None), ["missing input 'price'", "needs 'item_id', 'timestamp', 'price'"]),
        (request(price=np.ones(3, np.float32)), ["'price' has shape [3]", "[sessions, interactions]"]),
        (
            request(price=np.ones((2, 2), np.float32)),
            ["'price' has shape [2, 2]", "'item_id' has [2, 3]", "'session_length'"],
        ),
        (request(0), ["shape [0, 3]", "at least one session", "'session_length' 0"]),
        (request(1, 0), ["shape [1, 0]", "one interaction"]),
        (request(4), ["4 sessions", "at most 3", "several requests"]),
        (request(1, 7), ["7 interactions", "at most 6", "send the newest", "reads 4"]),
        (request(price=np.ones((2, 3))), ["'price' has type float64", "expected FP32 (float32)"]),
        (request(timestamp=np.ones((2, 3), np.int32)), ["'timestamp' has type int32", "expected INT64 (int64)"]),
        (request(item_id=np.ones((2, 3), np.int64)), ["'item_id' has type int64", "expected BYTES (object)"]),
        (request(session_length=np.ones((2, 1))), ["'session_length' has type float64", "INT32"]),
        (request(session_length=int32(1)), ["'session_length' has shape [1, 1]", "[2, 1]", "one length per session"]),
        (request(session_length=int32(0, 4)), ["'session_length' is 4 for session 1", "0 to 3"]),
        (request(session_length=int32(-1, 3)), ["'session_length' is -1 for session 0", "0 to 3"]),
        (request(top_k=np.ones((2, 1), np.int64)), ["'top_k' has type int64", "INT32"]),
        (request(top_k=np.ones(2, np.int32)), ["'top_k' has shape [2]", "[2, 1]", "once per session"]),
        (request(top_k=int32(1, 2)), ["'top_k' has the values [1, 2]", "one value", "requests of their own"]),
        (request(top_k=int32(0, 0)), ["'top_k' is 0", "1 to 9", "limit set at export"]),
        (request(top_k=int32(10, 10)), ["'top_k' is 10", "1 to 9"]),
        (
            request(1, 2, price=np.array([[1, np.inf]], np.float32)),
            ["'price' is infinite in session 0, interaction 1", "NaN or -3.4028235e+38"],
        ),
        (
            request(1, 2, item_id=np.array([[b"a", b"b\xff"]], dtype=object)),
            ["'item_id' is not valid UTF-8 in session 0, interaction 1", "byte 0xff at position 1"],
        ),
        (
            request(1, 2, item_id=np.array([[b"a", b"b\0"]], dtype=object)),
            ["'item_id' has a NUL character in session 0, interaction 1", "leave it out"],
        ),
        (
            request(1, 1, item_id=np.array([["a\ud800"]], dtype=object)),
            ["'item_id' is not valid UTF-8 in session 0, interaction 0", "byte 0xed at position 1"],
        ),
    ],
)
def test_a_bad_request_is_told_what_came_and_what_is_expected(tensors, parts):
    message = refusal(tensors)
    for part in parts:
        assert part in message


def test_the_place_of_a_fault_counts_sessions_of_any_length():
    item_id = np.full((3, 2), b"a", dtype=object)
    item_id[2, 1] = b"\xff"
    assert "in session 2, interaction 1" in refusal(request(3, 2, item_id=item_id, session_length=int32(1, 0, 2)))


VALUES = st.one_of(st.binary(max_size=10), st.text(max_size=4), st.characters(categories=["Cs"]), st.integers())


@st.composite
def arrays(draw):
    shape = draw(st.one_of(npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7), st.just((2, 3))))
    dtype = draw(st.sampled_from([object, np.int64, np.float32, np.float64, np.int32, bool, "U3", "S3"]))
    if dtype is object:
        size = int(np.prod(shape))
        values = np.empty(size, dtype=object)
        values[:] = draw(st.lists(VALUES, min_size=size, max_size=size))
        return values.reshape(shape)
    return draw(npst.arrays(np.dtype(dtype), shape))


@st.composite
def near_misses(draw):
    """Requests that are right but for what is drawn."""
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    tensors = request(rows, width)
    for index in np.ndindex(rows, width):
        tensors["item_id"][index] = draw(st.binary(max_size=9))
    tensors["price"] = draw(npst.arrays(np.float32, (rows, width)))
    if draw(st.booleans()):
        tensors["session_length"] = draw(npst.arrays(np.int32, (rows, 1), elements=st.integers(-1, width + 1)))
    if draw(st.booleans()):
        tensors["top_k"] = draw(npst.arrays(np.int32, (rows, 1), elements=st.integers(4, 5)))
    return tensors


NAMES = ("item_id", "timestamp", "price", "session_length", "top_k")


@given(st.one_of(near_misses(), st.dictionaries(st.sampled_from(NAMES), arrays(), min_size=3)))
def test_whatever_comes_is_a_request_or_a_request_error(tensors):
    try:
        read = read_request(tensors, SIGNATURE)
    except RequestError:
        return
    assert isinstance(read, Request)
    assert 1 <= read.top_k <= SIGNATURE.top_k_limit
    assert {len(values) for values in read.columns.values()} == {read.lengths.sum()}
    assert all(isinstance(value, str) for value in read.columns["item_id"])
    assert not np.isinf(read.columns["price"]).any()
    valid = np.arange(tensors["timestamp"].shape[1]) < read.lengths[:, None]
    np.testing.assert_array_equal(read.columns["timestamp"], tensors["timestamp"][valid])


def test_integers_come_back_as_they_came_nulls_included():
    signature = dataclasses.replace(SIGNATURE, features=(Feature("item_id", "integer"),))
    values = np.array([[NULL_INT64, 2**63 - 1, 2**53 + 1]])
    assert read_request({"item_id": values}, signature).columns["item_id"].tolist() == values[0].tolist()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=12), st.integers(1, 12))
def test_the_longest_string_is_found_among_many(values, limit):
    values = [value.replace(b"\0", b"-").decode("latin-1").encode() for value in values]
    signature = dataclasses.replace(SIGNATURE, features=(Feature("item_id", "string"),), max_id_bytes=limit)
    signature = dataclasses.replace(signature, max_interactions_per_session=12)
    tensors = {"item_id": np.array([[*values, None]], dtype=object)[:, :-1]}
    longest = max(map(len, values))
    if longest <= limit:
        assert read_request(tensors, signature).columns["item_id"].tolist() == [value.decode() for value in values]
    else:
        with pytest.raises(RequestError, match=rf"bytes in session 0, interaction \d+, at most {limit} are allowed"):
            read_request(tensors, signature)


def test_the_outline_is_the_number_of_sessions_and_of_items():
    assert read_shape(request(), SIGNATURE)[0] == 2
    assert read_top_k(int32(4, 4), 2, SIGNATURE) == 4
    with pytest.raises(RequestError, match="'top_k' is 0"):
        read_top_k(int32(0, 0), 2, SIGNATURE)


@pytest.mark.parametrize("sent", [["colour"], ["colour", "weight"]])
def test_attributes_that_the_catalogue_has_are_refused(sent):
    signature = dataclasses.replace(SIGNATURE, catalogue=(Feature("colour", "string"), Feature("weight", "float")))
    read_request(request(), signature)
    with pytest.raises(RequestError) as caught:
        read_request(request(**dict.fromkeys(sent, np.ones((2, 3), np.float32))), signature)
    assert str(caught.value) == f"the request is refused, since {signature.refusal(sent)}"

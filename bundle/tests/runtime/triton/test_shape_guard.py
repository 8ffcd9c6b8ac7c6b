"""What reaches a step where Triton lets an impossible shape pass. serving_tests ask a real Triton."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.request import RequestError
from nextitem_bundle.runtime.triton.shape_guard import (
    Impossible,
    _impossible,
    _Strings,
    possible,
    read_strings_of,
    refuse_impossible,
)

SIZES = st.one_of(st.integers(-3, 5), st.sampled_from([2**31, 2**32, 2**61 + 1, 2**62, 2**63 - 1, -(2**63)]))


def encoded(strings: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(struct.pack("<I", len(value)) + value for value in strings), np.uint8)


def arrived(data: np.ndarray, shape) -> np.ndarray:
    return read_strings_of(_Strings(data).reshape(shape))


@given(st.lists(SIZES, max_size=4))
def test_what_is_possible_numpy_can_make(shape: list[int]) -> None:
    if possible(shape):
        # Without memory of its own: 2**48 elements are possible, but nobody sends them.
        made = np.lib.stride_tricks.as_strided(np.zeros(1, np.int64), shape, [0] * len(shape))
        assert list(made.shape) == shape
        assert made.size * 8 < 2**63
    else:
        assert min(shape) < 0 or float(np.prod([max(size, 1) for size in shape], dtype=float)) > 2**47


@given(st.lists(st.binary(max_size=9), max_size=12))
def test_strings_are_what_was_sent(strings: list[bytes]) -> None:
    array = arrived(encoded(strings), [len(strings)])
    assert array.dtype == np.object_
    assert array.tolist() == strings
    assert arrived(encoded(strings), (1, len(strings))).shape == (1, len(strings))


@pytest.mark.parametrize("shape", [[-1, 1], [-1], [2], [0, 2**62], [2**32, 2**32], [-2, -1]])
def test_strings_of_another_shape_are_impossible(shape: list[int]) -> None:
    array = arrived(encoded([b"one"]), shape)
    assert isinstance(array, Impossible)
    assert array.claimed == tuple(shape)


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=4), st.data())
def test_strings_that_are_cut_off_are_impossible(strings: list[bytes], data) -> None:
    whole = encoded(strings)
    cut = data.draw(st.integers(1, 4 + len(strings[-1])))
    assert isinstance(arrived(whole[:-cut], [len(strings)]), Impossible)


def test_an_impossible_tensor_is_refused_by_its_name_and_shape() -> None:
    arrived = _impossible([-2, -3]).copy().view(np.dtype(np.float32))
    with pytest.raises(
        RequestError, match=r"^input 'price' has the impossible shape \[-2, -3\]: dimensions are 0 or more"
    ):
        refuse_impossible({"item_id": np.zeros((1, 1)), "price": arrived})
    refuse_impossible({"item_id": np.zeros((1, 1))})


def test_it_cannot_be_joined_with_other_requests() -> None:
    with pytest.raises(ValueError, match="dimension"):
        np.concatenate([np.zeros((1, 3)), _impossible([-2, -3])])

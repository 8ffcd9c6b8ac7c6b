"""The native features graph gives what the Python runtime's step gives, for every valid request."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from nextitem_bundle.runtime.filters import WIDTHS
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32, NULL_INT64
from nextitem_export import ExportError
from nextitem_export.native.lint import version_faults
from nextitem_export.native.steps import write_native_features
from nextitem_export.workflow import forms

TIMES = st.sampled_from((NULL_INT64, 0, 1, 2, 10**18, 2**63 - 1))
CATEGORIES = st.sampled_from((0, 1, 2, 3, 77, NULL_INT64))
PRICES = st.floats(0, 100, width=32) | st.sampled_from((np.nan, LOWEST_FLOAT32))


def ids_of(both) -> st.SearchStrategy:
    """Items of the catalogue, others and null, as they come."""
    if both.ids.dtype == object:
        return st.sampled_from([*(item.encode() for item in both.ids[:12]), b"", b"never", "ü".encode()])
    return st.sampled_from([*both.ids[:12].tolist(), NULL_INT64, 5, -1])


def array(draw, values: st.SearchStrategy, shape: tuple[int, int], dtype: type) -> np.ndarray:
    filled = np.empty(shape[0] * shape[1], dtype=dtype)
    filled[:] = draw(st.lists(values, min_size=len(filled), max_size=len(filled)))
    return filled.reshape(shape)


@st.composite
def requests(draw, both) -> dict[str, np.ndarray]:
    """Any option or none, anything in the padding, null, times in any order, sessions beyond the window."""
    shape = rows, width = draw(st.integers(1, 6)), draw(st.integers(1, 11))
    item = both.ids.dtype.type
    tensors = {
        "item_id": array(draw, ids_of(both), shape, item),
        "timestamp": array(draw, TIMES, shape, np.int64),
        "category": array(draw, CATEGORIES, shape, np.int64),
        "price": array(draw, PRICES, shape, np.float32),
    }
    if draw(st.booleans()):
        lengths = draw(npst.arrays(np.int32, (rows, 1), elements=st.integers(0, width)))
        tensors["session_length"] = lengths
        beyond = np.arange(width) >= lengths
        tensors["price"][beyond] = draw(st.sampled_from((np.inf, -np.inf, 3.0)))
        if item is np.object_ and draw(st.booleans()):
            tensors["item_id"][beyond] = b"\xff\xfe not UTF-8"
    if draw(st.booleans()):
        tensors["top_k"] = np.full((rows, 1), draw(st.integers(1, 100)), np.int32)
    for name in ("exclude_item_ids", "allow_item_ids"):
        if draw(st.booleans()):
            tensors[name] = array(draw, ids_of(both), (rows, draw(st.integers(0, 9))), item)
    if draw(st.booleans()):
        tensors["exclude_seen"] = draw(npst.arrays(np.bool_, (rows, 1)))
    return tensors


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_valid_request_gives_what_the_python_runtime_gives(both, data):
    both.assert_same(data.draw(requests(both)))


@pytest.mark.parametrize("width", [64, 65, 200])
def test_long_sessions_and_what_was_seen_in_them(both, width):
    both.assert_same(both.request(width))
    both.assert_same(both.request(width, exclude_seen=np.array([[True], [False]])))


@pytest.mark.parametrize("name", ["exclude_item_ids", "allow_item_ids"])
@pytest.mark.parametrize("count", [33, 64, 65, 1_024, 1_025, WIDTHS[-1] - 1])
def test_long_lists_hold_each_code_once_in_the_width_that_they_take(wide, name, count):
    """One session lists so many items, each twice, and an unknown one, the other one lists two."""
    ids = np.full((2, 2 * count + 1), NULL_INT64)
    ids[:, -1] = 5
    for row, listed in enumerate((count, 2)):
        ids[row, : 2 * listed] = np.tile(wide.ids[:listed], 2)
    wide.assert_same(wide.request(3, **{name: ids}))


def test_strings_are_read_as_triton_s_backend_reads_them(strings):
    """A NUL ends a string, and what is not UTF-8 is no item."""
    item = strings.ids[0].encode()

    def codes(first: bytes) -> list[list[int]]:
        tensors = strings.request(3)
        tensors["item_id"] = np.array([[first, item, item]] * 2, dtype=object)
        return strings.native.run(tensors)["feature__0"].tolist()

    assert codes(item + b"\0x") == codes(item)
    assert codes(item + b"\xff") == codes(b"never seen") != codes(item)


def test_the_graph_is_within_what_triton_s_onnx_runtime_reads(both):
    assert not list(version_faults(both.graph))
    onnx.checker.check_model(both.graph, full_check=True)


def test_every_input_has_a_default(both):
    names = {given.name for given in both.graph.graph.input}
    assert names == set(both.native.inputs) == set(both.python.inputs)
    assert names <= {tensor.name for tensor in both.graph.graph.initializer}


def test_a_workflow_that_needs_numpy_is_refused(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "STRING_KEYS_LIMIT", 5)
    with pytest.raises(ExportError, match=r"needs numpy \(a vocabulary of .*ExportOptions\(runtime='python'\)"):
        write_native_features(plan, tmp_path)

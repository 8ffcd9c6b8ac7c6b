"""Both forms of the features step, the Python runtime's and the native graph, for the tests of the latter."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from nextitem_bundle.runtime.step import Step, open_step
from nextitem_export.graphs.features import write_features
from nextitem_export.native.steps import write_native_features
from nextitem_export.plan import Plan

#: Sessions, and interactions of one, that these steps take.
MOST, LONGEST = 6, 200


@dataclasses.dataclass(frozen=True)
class Both:
    """One plan's features step in both forms. ids: the catalogue's raw ids."""

    python: Step
    native: Step
    graph: onnx.ModelProto
    ids: np.ndarray

    def request(self, width: int, **options: np.ndarray) -> dict[str, np.ndarray]:
        """A good request of two sessions, of `width` interactions and half as many."""
        random = np.random.default_rng(width)
        return {
            "item_id": random.choice(self.ids, (2, width)),
            "timestamp": random.integers(0, 50, (2, width)),
            "category": random.integers(0, 6, (2, width)),
            "price": random.random((2, width)).astype(np.float32),
            "session_length": np.array([[width], [width // 2]], np.int32),
            **options,
        }

    def assert_same(self, tensors: dict[str, np.ndarray]) -> None:
        """Both give the same; the order in a filter's list is open."""
        due, found = self.python.run(tensors), self.native.run(tensors)
        assert set(due) == set(found)
        for name, values in due.items():
            assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape), name
            if name.startswith(("excluded", "allowed")):
                assert _listed(found[name]) == _listed(values), name
            else:
                np.testing.assert_array_equal(found[name], values, err_msg=name)


def _listed(codes: np.ndarray) -> list[set[int]]:
    return [set(row[row != 0].tolist()) for row in codes]


def opened(plan: Plan, folder: Path) -> Both:
    """Both steps of a plan, for at most MOST sessions of LONGEST interactions."""
    signature = dataclasses.replace(plan.signature, max_sessions_per_request=MOST, max_interactions_per_session=LONGEST)
    plan = dataclasses.replace(plan, signature=signature)
    python, native = folder / "python", folder / "native"
    python.mkdir()
    native.mkdir()
    write_features(plan, "compiled", python)
    write_native_features(plan, native)
    return Both(open_step(python), open_step(native), onnx.load(native / "model.onnx"), plan.vocabulary.values)


@pytest.fixture(scope="session")
def strings(plan, tmp_path_factory) -> Both:
    return opened(plan, tmp_path_factory.mktemp("strings"))


@pytest.fixture(scope="session")
def integers(shop, tmp_path_factory) -> Both:
    folder = tmp_path_factory.mktemp("integers")
    rows = shop.interactions(string_items=False)
    return opened(shop.plan_of(shop.fit(rows, folder), rows[rows.session_id < 8]), folder)


@pytest.fixture(params=["strings", "integers"])
def both(request) -> Both:
    """Each kind of item ids."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def wide(shop, tmp_path_factory) -> Both:
    """A catalogue of more items than a filter may list."""
    folder = tmp_path_factory.mktemp("wide")
    rows = shop.interactions(string_items=False)
    count = 16_384 + 10
    more = rows.loc[np.zeros(count, dtype=int)].assign(item_id=np.arange(count) * 3 + 1, session_id=10**6)
    frame = rows._append(more, ignore_index=True)
    workflow = shop.fit(frame.assign(position=np.arange(len(frame))), folder)
    return opened(shop.plan_of(workflow, rows[rows.session_id < 8]), folder)

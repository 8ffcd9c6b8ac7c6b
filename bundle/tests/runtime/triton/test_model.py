"""The class that Triton loads, with a stand-in for the module that exists inside Triton alone.

serving_tests ask the real one; here are the answers that a running bundle gives only when something is broken.
"""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from nextitem_bundle.runtime.counters import Counters
from nextitem_bundle.runtime.request import RequestError
from nextitem_bundle.runtime.steps import Items, write_step
from nextitem_bundle.runtime.triton.batching import answering
from nextitem_bundle.runtime.triton.load_shedding import LoadShedding
from nextitem_bundle.runtime.triton.metrics import Metrics


class Tensor:
    def __init__(self, name, values) -> None:
        self._name, self.values = name, values

    def name(self):
        return self._name

    def as_numpy(self):
        return self.values


class Request:
    def __init__(self, tensors, sent=None) -> None:
        self._tensors, self._sent = tensors, sent

    def get_response_sender(self):
        return self

    def send(self, response, flags):
        assert flags == "final"
        self._sent.append((self._tensors["x"].tolist(), response))

    def request_id(self):
        return "asked-7"

    def inputs(self):
        return [Tensor(name, values) for name, values in self._tensors.items()]


class Family:
    COUNTER = "counter"

    def __init__(self, **described) -> None:
        pass

    def Metric(self, labels):  # noqa: N802  Triton's own name
        return SimpleNamespace(increment=lambda count: None)


class TritonError(Exception):
    INVALID_ARG, INTERNAL, UNAVAILABLE = "invalid argument", "internal", "unavailable"

    def __init__(self, message, code) -> None:
        super().__init__(message)
        self.code = code


@pytest.fixture
def triton(monkeypatch):
    utils = ModuleType("triton_python_backend_utils")
    utils.logged = []
    utils.numpy_to_triton_type = lambda dtype: None
    utils.MetricFamily = Family
    utils.Tensor = Tensor
    utils.TritonError = TritonError
    utils.Logger = SimpleNamespace(log_error=utils.logged.append)
    utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL = "final"
    utils.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(
        outputs={tensor.name(): tensor.values for tensor in tensors}, error=error
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)
    name = "nextitem_bundle.runtime.triton.model"
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name), utils
    sys.modules.pop(name, None)


class Halves:
    """Answers even numbers with their halves."""

    inputs, outputs = ("x", "unused"), ("half",)

    def __init__(self) -> None:
        self.sizes = []

    def run(self, tensors):
        self.sizes.append(len(tensors["x"]))
        if (tensors["x"] < 0).any():
            raise ZeroDivisionError("negative")
        if (tensors["x"] % 2).any():
            raise RequestError("input 'x' is odd")
        return {"half": tensors["x"] // 2}


def ask(triton, step, *requests):
    model = triton[0].TritonPythonModel()
    model._name, model._answer_all = "shop_step", answering(step)
    model._load_shedding = getattr(step, "load_shedding", None)
    model._counters, model._warming = Counters(), False
    model._metrics = Metrics(triton[1], model._counters, {})
    sent = []
    answers = model.execute([Request({"x": np.array(values)}, sent) for values in requests])
    assert answers is None or not sent  # a request is answered in one of the two ways
    return sent if answers is None else answers


def test_each_request_gets_its_own_rows(triton):
    step = Halves()
    answers = ask(triton, step, [[2], [4]], [[6]], [[8], [10], [12]])
    assert [answer.outputs["half"].tolist() for answer in answers] == [[[1], [2]], [[3]], [[4], [5], [6]]]
    assert step.sizes == [2, 1, 3]


def test_a_bad_request_fails_alone_with_its_sentence(triton):
    good, bad, other = ask(triton, Halves(), [[2]], [[3]], [[4]])
    assert (good.outputs["half"].tolist(), other.outputs["half"].tolist()) == ([[1]], [[2]])
    assert (str(bad.error), bad.error.code) == ("input 'x' is odd", TritonError.INVALID_ARG)
    assert triton[1].logged == []


def test_a_fault_of_the_step_fails_one_request_without_a_traceback_and_is_logged_with_it(triton):
    good, bad = ask(triton, Halves(), [[2]], [[-2]])
    assert good.outputs["half"].tolist() == [[1]]
    assert (str(bad.error), bad.error.code) == (
        "step shop_step failed: ZeroDivisionError: negative",
        TritonError.INTERNAL,
    )
    logged = json.loads(triton[1].logged[0])
    assert (logged["event"], logged["model"], logged["request_id"]) == ("fault", "shop_step", "asked-7")
    assert logged["traceback"].startswith("Traceback")


class Few(Halves):
    """Takes two requests of those that wait."""

    load_shedding = LoadShedding(2, 0)

    def run_all(self, inputs):
        return [self.run(tensors) for tensors in inputs]


def test_requests_beyond_the_queue_s_size_are_refused_and_the_oldest_answered(triton):
    (asked, refused), *answered = ask(triton, Few(), [[2]], [[4]], [[6]])
    assert asked == [[6]]  # at once, before the others are answered
    assert [(asked, answer.outputs["half"].tolist()) for asked, answer in answered] == [([[2]], [[1]]), ([[4]], [[2]])]
    assert refused.error.code == TritonError.UNAVAILABLE
    sentence = "Exceeds maximum queue size: 3 requests waited for shop_step, which keeps 2; ask again later"
    assert str(refused.error) == sentence


def test_a_queue_without_a_limit_is_answered_whole(triton):
    step = Few()
    step.load_shedding = LoadShedding(0, 0)
    assert [answer.error for answer in ask(triton, step, *([[2]],) * 300)] == [None] * 300


def test_it_opens_the_step_of_its_version_folder(triton, tmp_path):
    folder = tmp_path / "shop_items" / "7"
    folder.mkdir(parents=True)
    # The form without ONNX Runtime, which would have this whole process take small numbers for 0.
    write_step(folder, Items("numpy", ("codes", "scores", "status", "top_k")))
    np.save(folder / "items.npy", np.array([0, 0, 0, 41, 42]))
    model = triton[0].TritonPythonModel()
    model.initialize(
        {
            "model_name": "shop_items",
            "model_repository": str(folder.parent),
            "model_version": "7",
            "model_instance_name": "shop_items_0_0",
        }
    )
    tensors = {
        "codes": np.array([[4, 3]]),
        "scores": np.array([[2, 1]], np.float32),
        "status": np.zeros((1, 1), np.int32),
        "top_k": np.array([[1]]),
    }
    (answer,) = model.execute([Request(tensors)])
    assert answer.outputs["item_ids"].tolist() == [[42]]
    assert answer.outputs["status"].tolist() == [["ok"]]


def test_a_warm_up_is_not_counted(triton):
    model = triton[0].TritonPythonModel()
    model._name, model._answer_all, model._load_shedding = "shop", answering(Halves()), None
    model._counters, model._warming = Counters(), True
    model._metrics = SimpleNamespace(send_if_due=lambda: None)
    odd = Request({"x": np.array([[3]])})
    model.execute([odd])
    assert model._counters.take() == {}
    model.execute([odd])
    assert sum(model._counters.take().values()) == 1

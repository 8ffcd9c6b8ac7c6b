"""The fused layout: requests of any lengths in one run, each with the answer that it gets alone from the three steps."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest

from export.tests.support.formats import EACH_FORMAT
from nextitem_bundle.runtime.request import RequestError
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import read_step
from nextitem_bundle.runtime.triton.batching import answering
from nextitem_export import ExportOptions, UnsupportedModel
from nextitem_export.graphs.id_decoder import INPUTS
from nextitem_export.graphs.merging import can_merge, merge, open_graph
from nextitem_export.layouts import LAYOUTS
from nextitem_export.layouts.steps import write_steps
from nextitem_export.retrieval.tensors import OUTPUTS
from nextitem_export.wire import request_tensors


def built(plan, folder, **options):
    """The fused model's version folder and those of the steps that it was made of."""
    layout, chosen = LAYOUTS["fused"]("shop"), ExportOptions(layout="fused", **options)
    write_steps(layout.folders(folder, 1), plan, chosen)
    return layout.assemble(folder, plan, chosen), layout.folders(folder, 1)


@pytest.fixture(scope="module", params=EACH_FORMAT)
def fused(request, plan, tmp_path_factory):
    return built(plan, tmp_path_factory.mktemp("fused"), format=request.param)


def drawn(plan, random, count):
    """Requests of one to three sessions, some padded, out of order, with filters or with a top_k of their own."""
    requests = []
    for _ in range(count):
        chosen = [plan.sessions[i] for i in random.integers(0, len(plan.sessions), random.integers(1, 4))]
        if random.random() < 0.3:
            chosen = [session.sample(frac=1, random_state=int(random.integers(100))) for session in chosen]
        longest = max(map(len, chosen))
        tensors = request_tensors(chosen, plan.raw_features, width=longest + int(random.integers(0, 3)))
        if random.random() < 0.5:
            tensors["top_k"] = np.full((len(chosen), 1), random.integers(1, 9), np.int32)
        if random.random() < 0.3:
            tensors["exclude_seen"] = np.ones((len(chosen), 1), bool)
        if random.random() < 0.2:
            ids = [f"ø{i}".encode() for i in range(random.integers(1, 100))]
            tensors["exclude_item_ids"] = np.array([ids] * len(chosen), dtype=object)
        requests.append(tensors)
    return requests


def by_steps(folders, tensors):
    features, retrieval, items = map(open_step, folders)
    encoded = features.run(tensors)
    ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
    return items.run({**dict(zip(INPUTS[:3], (ranked[name] for name in OUTPUTS), strict=True)), **_top_k(encoded)})


def _top_k(encoded):
    return {INPUTS[3]: encoded[INPUTS[3]]}


def assert_same(answer, due):
    assert answer["item_ids"].tolist() == due["item_ids"].tolist()
    assert answer["status"].tolist() == due["status"].tolist()
    np.testing.assert_allclose(answer["scores"], due["scores"], rtol=0, atol=1e-5)


def test_requests_answered_together_get_what_each_gets_from_the_steps(fused, plan):
    folder, folders = fused
    requests = drawn(plan, np.random.default_rng(3), 40)
    outcomes = answering(open_step(folder))(requests)
    for tensors, outcome in zip(requests, outcomes, strict=True):
        assert_same(outcome, by_steps(folders, tensors))


def test_a_bad_request_fails_alone(fused, plan):
    step = open_step(fused[0])
    good, bad = drawn(plan, np.random.default_rng(1), 2)
    bad = {**bad, "top_k": np.zeros((len(bad["session_length"]), 1), np.int32)}
    first, second, third = answering(step)([good, bad, good])
    assert isinstance(second, RequestError)
    assert "'top_k' is 0" in str(second)
    assert second.__traceback__ is None  # its frames would hold the request's tensors
    assert_same(first, third)
    with pytest.raises(RequestError, match="'top_k' is 0"):
        step.run(bad)


def test_a_run_holds_no_more_sessions_of_several_requests_than_was_chosen(plan, fused, monkeypatch):
    step = open_step(fused[0])
    limit = ExportOptions().preferred_batch_size
    core, sizes = step._core, []
    answer = core.answer
    monkeypatch.setattr(core, "answer", lambda some: sizes.append(sum(one.rows for one in some)) or answer(some))
    one = request_tensors(plan.sessions[:1], plan.raw_features)
    assert len(answering(step)([one] * (limit + 5))) == limit + 5
    assert sizes == [limit, 5]


@pytest.mark.parametrize("features", ["compiled", "nvtabular"])
def test_the_options_of_queue_and_threads_reach_the_step_and_the_configuration(plan, tmp_path, features):
    options = ExportOptions(
        layout="fused",
        features=features,
        threads=2,
        preferred_batch_size=8,
        max_queue_size=5,
        max_queue_ms=7,
        instances=2,
    )
    layout = LAYOUTS["fused"]("shop")
    write_steps(layout.folders(tmp_path, 1), plan, options)
    folder = layout.assemble(tmp_path, plan, options)
    layout.write_configs(tmp_path, plan, options)
    step = open_step(folder)
    assert (step._max_rows, step.load_shedding._max_requests, step.load_shedding._max_s) == (8, 5, 0.007)
    assert read_step(folder if features == "compiled" else folder / "retrieval").graph.threads == 2
    config = (tmp_path / "shop" / "config.pbtxt").read_text()
    assert "count: 2" in config
    # Triton warms a batch up by as many requests: none of them may be refused.
    assert step.load_shedding._exempt == sum(map(int, re.findall(r'name: "batch_(\d+)"', config))) > 0


def test_a_fault_of_the_graph_is_the_guilty_request_s_alone(plan, fused, monkeypatch):
    step = open_step(fused[0])
    core = step._core
    answer = core.answer

    def failing(requests):
        if any(request.top_k == 7 for request in requests):
            raise ArithmeticError("seven")
        return answer(requests)

    monkeypatch.setattr(core, "answer", failing)
    good = request_tensors(plan.sessions[:1], plan.raw_features)
    guilty = {**good, "top_k": np.array([[7]], np.int32)}
    first, second, third = answering(step)([good, guilty, good])
    assert isinstance(second, ArithmeticError)
    assert_same(first, third)


def test_the_steps_become_one_graph_that_holds_the_catalogue_once(plan, tmp_path):
    folder, _ = built(plan, tmp_path)
    settings = json.loads((folder / "step.json").read_text())
    assert settings["kind"] == "fused_graph"
    assert not (folder / "retrieval").exists()
    merged = onnx.load(str(folder / "model.onnx"))
    onnx.checker.check_model(merged, full_check=True)
    tables = [tensor for tensor in merged.graph.initializer if list(tensor.dims) == [len(plan.log_popularity), 8]]
    assert len(tables) == 1
    names = {tensor.name for tensor in merged.graph.input}
    assert names >= {feature.name for feature in plan.raw_features}
    assert [tensor.name for tensor in merged.graph.output] == ["item_ids", "scores", "status", plan.item_tensor]


def test_graphs_of_other_opsets_are_not_merged(plan, tmp_path):
    _, folders = built(plan, tmp_path)
    graphs = [open_graph(folder) for folder in folders]
    assert can_merge(graphs)
    assert merge(*graphs, {}).graph.input
    graphs[1].opset_import[0].version += 1
    assert not can_merge(graphs)


def test_a_model_that_cannot_be_traced_is_refused_as_in_any_layout(shop, frame, workflow, tmp_path):
    class Untraceable(shop.TinyModel):
        def query(self, features):
            raise NotImplementedError("by hand")

    model = Untraceable(*(shop.model_for(workflow).items.num_embeddings, 9))
    with pytest.raises(UnsupportedModel, match="by hand"):
        built(shop.plan_of(workflow, frame, model), tmp_path)

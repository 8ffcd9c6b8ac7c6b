from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from export.tests.support.formats import EACH_FORMAT
from nextitem_bundle.runtime.special_ids import COLD
from nextitem_export import ParityError
from nextitem_export.graphs.features import write_features
from nextitem_export.parity.cases import Case, make_cases
from nextitem_export.parity.gate import _whence, progress_rate
from nextitem_export.retrieval.formats import write_retrieval
from nextitem_export.retrieval.module import Retrieval


@pytest.fixture(scope="module")
def cases(plan):
    """Two requests of the sample's sessions."""
    return [Case("the sample", plan.sessions, 5)]


@pytest.fixture
def tampered(steps, tmp_path):
    """Copies of the version folders, to be changed."""
    copies = tuple(tmp_path / folder.parent.name for folder in steps)
    for folder, copy in zip(steps, copies, strict=True):
        shutil.copytree(folder, copy)
    return copies


def fault(shop, plan, folders, cases) -> str:
    with pytest.raises(ParityError) as caught:
        shop.gate_of(plan, folders).check(cases)
    message = str(caught.value)
    assert message.endswith("The bundle was not written")
    return message


def change_graph(folder, change) -> None:
    graph = onnx.load(str(folder / "model.onnx"))
    change({tensor.name: tensor for tensor in graph.graph.initializer}, graph.graph)
    onnx.save(graph, str(folder / "model.onnx"))


def write(plan, folder, model, format_name: str = "onnx", popularity=None, kind=Retrieval) -> None:
    popularity = plan.log_popularity if popularity is None else popularity
    retrieval = kind(model, plan.features, plan.item_feature, popularity, 100)
    example = tuple(torch.ones(2, plan.signature.window, dtype=getattr(torch, f.dtype)) for f in plan.features)
    write_retrieval(format_name, retrieval, plan.features, example, folder, threads=1)


def test_the_built_graphs_pass_and_are_reported(shop, plan, steps, cases):
    said = []
    (report,) = shop.gate_of(plan, steps).check(cases, said.append)
    assert said == ["parity: the sample"]
    assert (report.case, report.sessions, report.judged) == ("the sample", len(plan.sessions), len(plan.sessions))
    assert report.feature_difference < 1e-5
    assert report.score_difference < 1e-4
    assert json.loads(json.dumps(report.to_json()))["judged"] == len(plan.sessions)


def test_every_case_passes_with_torchscript(shop, plan, tampered):
    write(plan, tampered[1], plan.model, "torchscript")
    (tampered[1] / "model.onnx").unlink()
    cases = make_cases(
        plan.sessions[:3],
        plan.raw_features,
        time_columns=["timestamp"],
        window=4,
        max_sessions=64,
        max_interactions=100,
    )
    reports = shop.gate_of(plan, tampered).check(cases)
    assert [report.case for report in reports] == [case.name for case in cases]
    assert min(report.judged for report in reports) > 0


def test_swapped_rows_of_the_items_table_are_caught(shop, plan, tampered, cases):
    def swap(tensors, _):
        table = numpy_helper.to_array(tensors["items"]).copy()
        table[[3, 4]] = table[[4, 3]]
        tensors["items"].CopyFrom(numpy_helper.from_array(table, "items"))

    change_graph(tampered[2], swap)
    message = fault(shop, plan, tampered, cases)
    # Which of them a session has says NVTabular.
    assert re.match(
        r"feature 'item_id-list' of session . in case 'the sample': at interaction . NVTabular gives [34],", message
    )


def test_an_items_graph_that_cuts_elsewhere_is_caught(shop, plan, tampered, cases):
    def cut(tensors, graph):
        for node in graph.node:
            if node.name == "best_scores":
                tensors["zero"].CopyFrom(numpy_helper.from_array(np.array([1]), "zero"))

    change_graph(tampered[2], cut)
    assert fault(shop, plan, tampered, cases).startswith("the items step gives 31 ids for 32 codes")


@pytest.mark.parametrize(
    ("node_name", "message"),
    [
        ("best_codes", "the items step gives 5 ids for "),
        ("best_scores", "the answer's scores of session 0"),
    ],
)
def test_an_items_graph_that_ignores_top_k_is_caught(shop, plan, tampered, cases, node_name, message):
    def ignore(_, graph):
        (node,) = [node for node in graph.node if node.name == node_name]
        node.input[2] = "five"
        graph.initializer.append(numpy_helper.from_array(np.array([5]), "five"))

    change_graph(tampered[2], ignore)
    assert fault(shop, plan, tampered, cases).startswith(message)


def test_an_items_graph_with_other_names_of_status_is_caught(shop, plan, tampered, cases):
    def rename(tensors, _):
        names = np.array(["cold", "ok", "empty"], dtype=object)
        tensors["names"].CopyFrom(numpy_helper.from_array(names, "names"))

    change_graph(tampered[2], rename)
    assert "the answer's status of session 0 in case 'the sample': ['cold'] came, expected ['ok']" in fault(
        shop, plan, tampered, cases
    )


def test_a_fault_of_the_answer_names_the_session_within_its_case(shop, plan, tampered):
    def rename(tensors, _):
        tensors["names"].CopyFrom(numpy_helper.from_array(np.array(["ok", "cold", "void"], dtype=object), "names"))

    change_graph(tampered[2], rename)
    empty = plan.sessions[0].iloc[:0]
    sessions = [*plan.sessions[:3], empty]
    assert "the answer's status of session 3" in fault(shop, plan, tampered, [Case("one empty", sessions, 2)])


def test_a_features_step_that_reads_the_padding_is_caught(shop, plan, steps):
    class Reading:
        """Takes every interaction with an item for a valid one."""

        def __init__(self, step) -> None:
            self.step = step

        def run(self, tensors):
            lengths = (tensors["item_id"] != b"").sum(axis=1, keepdims=True).astype(np.int32)
            return self.step.run(tensors | {"session_length": lengths})

    gate = shop.gate_of(plan, steps)
    gate._features_step = Reading(gate._features_step)
    short = [session.iloc[:2] for session in plan.sessions[:3]]
    gate.check([Case("padded", short, 64)])
    with pytest.raises(ParityError, match=r"feature '.*' of session . in case 'garbage': at interaction"):
        gate.check([Case("garbage", short, 64, garbage=True)])


@pytest.mark.parametrize("format_name", EACH_FORMAT)
def test_the_retrieval_step_of_another_model_is_caught(shop, plan, tampered, cases, format_name):
    other = shop.model_for(plan.fitted.workflow)
    with torch.no_grad():
        other.items.weight[3] += 0.5
    write(plan, tampered[1], other, format_name)
    message = fault(shop, plan, tampered, cases)
    assert message.startswith("ranking of session 0 in case 'the sample': at rank ")
    assert "expected" in message


def test_a_retrieval_step_that_reads_its_features_in_another_order_is_caught(shop, plan, tampered, cases):
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plan.model

        def query(self, features):
            items, categories = features["item_id-list"], features["category-list"]
            return self.inner.query({**features, "category-list": torch.minimum(items, categories)})

        def item_table(self):
            return self.inner.item_table()

    write(plan, tampered[1], Swapped())
    assert fault(shop, plan, tampered, cases).startswith("ranking of session ")


def test_a_retrieval_step_that_gives_too_few_items_is_caught(shop, plan, tampered, cases):
    def lower(tensors, graph):
        for node in graph.node:
            if node.op_type == "Greater":
                node.op_type = "Less"  # `best > lowest`

    change_graph(tampered[1], lower)
    # null and unknown, whose scores are the lowest
    assert "2 items came, expected" in fault(shop, plan, tampered, cases)


def test_another_popularity_is_caught_in_cold_sessions(shop, plan, tampered):
    popularity = plan.log_popularity.copy()
    popularity[3:] = popularity[3:][::-1]
    write(plan, tampered[1], plan.model, popularity=popularity)
    cold = plan.sessions[0].assign(item_id="never seen")
    message = fault(shop, plan, tampered, [Case("cold", [plan.sessions[1], cold], 1)])
    assert message.startswith("ranking of session 1 in case 'cold': at rank 0 ")


def test_a_features_step_of_another_workflow_is_caught(shop, plan, frame, steps, tampered, cases, tmp_path):
    other = shop.plan_of(shop.fit(frame.assign(category=9 - frame["category"]), tmp_path / "other"), frame)
    built = shop.steps_of(other, tmp_path / "other steps")
    message = fault(shop, plan, (built[0], *steps[1:]), cases)
    assert message.startswith("feature 'category-list' of session 0 in case 'the sample': at interaction 0 NVTabular")
    assert "the bundle" in message


def test_a_features_step_with_the_wrong_window_is_caught(shop, plan, steps, cases, tmp_path):
    narrow = dataclasses.replace(plan, signature=dataclasses.replace(plan.signature, window=3))
    write_features(narrow, "compiled", tmp_path)
    message = fault(shop, plan, (tmp_path, *steps[1:]), cases)
    assert message.startswith("feature 'item_id-list' of session 0 in case 'the sample': ")
    assert "shape [5, 3] came, expected [5, 4]" in message


def test_a_step_that_fails_is_caught(shop, plan, tampered):
    long = plan.sessions[0].assign(item_id="x" * 2000)
    message = fault(shop, plan, tampered, [Case("long ids", [plan.sessions[0], plan.sessions[1], long], 2)])
    assert message.startswith("the features step failed for the request that starts with session 2 in case 'long ids'")
    assert "2000 bytes in session 0, interaction 0, at most 1024 are allowed" in message


def test_a_retrieval_step_with_another_status_is_caught(shop, plan, tampered):
    class Warm(Retrieval):
        def forward(self, *tensors):
            codes, scores, status = super().forward(*tensors)
            return codes, scores, status.clamp(max=COLD)

    write(plan, tampered[1], plan.model, "torchscript", kind=Warm)
    empty = plan.sessions[0].iloc[:0]
    message = fault(shop, plan, tampered, [Case("one empty", [plan.sessions[0], empty], 1)])
    assert "status of session 1 in case 'one empty': cold came, expected empty: 0 of 0 items are known" in message


@pytest.mark.parametrize("ignored", ["excluded", "allowed"])
def test_a_retrieval_step_that_ignores_a_filter_is_caught(shop, plan, tampered, ignored):
    class Deaf(Retrieval):
        def _filtered(self, scores, excluded, allowed, available):
            lists = {"excluded": excluded, "allowed": allowed}
            lists[ignored] = lists[ignored] * 0
            return super()._filtered(scores, **lists, available=available)

    write(plan, tampered[1], plan.model, "torchscript", kind=Deaf)
    shop.gate_of(plan, tampered).check([Case("free", plan.sessions, 64)])
    message = fault(shop, plan, tampered, [Case("filters", plan.sessions, 64, filtered=True)])
    assert message.startswith("ranking of session ")


@pytest.mark.parametrize("ignored", ["exclude_item_ids", "allow_item_ids", "exclude_seen"])
def test_a_features_step_that_ignores_a_filter_is_caught(shop, plan, steps, ignored):
    class Deaf:
        def __init__(self, step) -> None:
            self.step = step

        def run(self, tensors):
            return self.step.run({name: values for name, values in tensors.items() if name != ignored})

    gate = shop.gate_of(plan, steps)
    gate._features_step = Deaf(gate._features_step)
    with pytest.raises(ParityError, match=r"ranking of session . in case 'filters': "):
        gate.check([Case("filters", plan.sessions, 64, filtered=True)])


def test_a_model_that_gives_nan_is_refused_with_the_remedy(shop, plan, tampered):
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plan.model

        def query(self, features):
            return self.inner.query(features) * features["price-list"].sum(1, keepdim=True).sqrt()

        def item_table(self):
            return self.inner.item_table()

    for format_name in ("onnx", "torchscript"):
        write(plan, tampered[1], Root(), format_name)
        message = fault(shop, dataclasses.replace(plan, model=Root()), tampered, [Case("the sample", plan.sessions, 1)])
        assert message.startswith("ranking of session ")
        assert "the eager model's scores are NaN; its features are not: the model makes NaN of them (a root" in message


def test_nan_in_a_feature_is_told_with_its_remedy():
    features = {"item": np.array([3, 4]), "price": np.array([1.0, np.nan], dtype=np.float32)}
    assert _whence(features).startswith("so is its feature 'price': fill nulls in the workflow (ops.FillMissing")


def test_the_rate_is_told_once_there_is_one():
    assert progress_rate(0, 1_500, 0.1) == ""
    assert progress_rate(1_200, 1_500, 6.0) == " (1,200 of 1,500 sessions, 200/s, 2 s left)"

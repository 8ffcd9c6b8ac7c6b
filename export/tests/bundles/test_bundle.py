from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from nvtabular import ops
from torch import nn

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_export import (
    ExportError,
    ExportOptions,
    ParityError,
    RepositoryError,
    UnsupportedModel,
    UnsupportedWorkflow,
    export_bundle,
)
from nextitem_export.parity.cases import make_cases
from nextitem_export.wire import request_tensors


@pytest.fixture(scope="module")
def few(sample):
    """Three sessions, since NVTabular answers each of them some forty times in an export."""
    return sample[sample["session_id"] < 3]


@pytest.fixture
def export(workflow, model, few, tmp_path):
    """Exports the shop into `tmp_path / "repository"`, but for what is given."""

    def export(other_model=None, other_workflow=None, *, options=None, rows=few, **changes):
        arguments = {"repository": tmp_path / "repository", "name": "shop", "tie_breaker_column": "position"}
        return export_bundle(
            other_model or model,
            other_workflow or workflow,
            rows,
            options=ExportOptions(**(options or {})),
            **(arguments | changes),
        )

    return export


@pytest.fixture
def repository(bundle, tmp_path):
    """A copy of the exported repository."""
    shutil.copytree(bundle.repository, tmp_path / "repository")
    return tmp_path / "repository"


def folders(bundle):
    steps = ("features", "retrieval", "items")
    return [bundle.repository / f"{bundle.name}_{step}" / str(bundle.version) for step in steps]


def answer(bundle, request):
    """What the bundle answers, its steps chained by hand."""
    features, retrieval, items = (open_step(folder) for folder in folders(bundle))
    encoded = features.run(request)
    ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
    return items.run(dict(zip(items.inputs, [*ranked.values(), encoded["top_k_checked"]], strict=True)))


def test_a_bundle_answers_raw_sessions_with_raw_items(bundle, plan, model, workflow, sample):
    got = answer(bundle, request_tensors(plan.sessions, plan.raw_features) | {"top_k": np.full((8, 1), 5, np.int32)})
    table = workflow.transform(sample.reset_index(drop=True))
    for row in range(len(plan.sessions)):
        features = {name: torch.tensor(np.array([table[name][row]])) for name in model.feature_names}
        features["price-list"] = features["price-list"].float()
        with torch.no_grad():
            scores = (model.query(features) @ model.item_table().T)[0].numpy()[FIRST_ITEM:]
        best = np.argsort(-scores, kind="stable")[:5]
        assert got["item_ids"][row].tolist() == plan.vocabulary.values[best].tolist()
        np.testing.assert_allclose(got["scores"][row], scores[best], atol=1e-4)
    assert got["status"].tolist() == [["ok"]] * 8


def test_a_bundle_is_four_models_and_nothing_else_is_left(bundle):
    assert sorted(path.name for path in bundle.repository.iterdir()) == [
        "shop",
        "shop_features",
        "shop_items",
        "shop_retrieval",
    ]
    assert list(bundle.repository.parent.iterdir()) == [bundle.repository]
    assert bundle.version == 1
    assert bundle.manifest.is_file()


def test_every_case_was_proved(bundle, plan):
    cases = make_cases(
        plan.sessions, plan.raw_features, time_columns=["timestamp"], window=4, max_sessions=64, max_interactions=10_000
    )
    assert [report.case for report in bundle.parity] == [case.name for case in cases]
    assert all(report.judged > 0 for report in bundle.parity)


def test_its_files_hold_no_path_of_this_machine(bundle):
    for path in bundle.repository.rglob("*"):
        if path.is_file():
            assert str(bundle.repository.parent).encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a b", "a\n"])
def test_a_name_that_is_no_folder_is_refused(export, name):
    with pytest.raises(ExportError) as caught:
        export(name=name)
    assert str(caught.value).startswith(f"the name is {name!r}, expected letters")


def test_stages_are_told(export):
    said = []
    export(progress=said.append)
    assert said[:2] == ["reading the workflow and the sample", "tracing TinyModel to onnx"]
    (nulls,) = (stage for stage in said if stage.startswith("parity: nulls"))
    assert re.fullmatch(r"parity: nulls \([1-9]\d* of \d+ sessions, [\d,]+/s, \d+ s left\)", nulls)
    assert said[-1] == "writing catalogue, configuration and manifest"


def test_a_second_export_is_version_2_beside_1(export, repository, shop):
    before = shop.snapshot(repository)
    second = export()
    assert (second.version, second.active) == (2, 1)
    found = shop.snapshot(repository)
    assert {name: found[name] for name in before} == before
    assert {name.split("/")[1] for name in set(found) - set(before)} == {"2"}
    config = found["shop/2/config.pbtxt"].decode()
    assert "versions: 2" in config
    assert config.count("model_version: 2") == 3
    assert json.loads(second.manifest.read_text())["request"]["bundle_version"] == 2


def test_another_sample_and_model_need_no_other_configuration(export, repository, frame, shop):
    later = frame[(frame["session_id"] >= 20) & (frame["session_id"] < 26)]
    assert export(rows=later, options={"top_k": 7}).version == 2


def test_another_step_configuration_is_refused_without_replace(export, repository, shop):
    before = shop.snapshot(repository)
    with pytest.raises(RepositoryError, match="shop_retrieval is there with another configuration"):
        export(options={"max_sessions": 32})
    assert shop.snapshot(repository) == before
    replaced = export(options={"max_sessions": 32, "replace": True})
    assert (replaced.version, replaced.active) == (2, 2)
    assert "batch_size: 32" in (repository / "shop_retrieval" / "config.pbtxt").read_text()
    assert not (repository / "shop_retrieval" / "1").exists()


class Wrapped(nn.Module):
    """The shop's model with another query."""

    feature_names = ("item_id-list", "category-list", "price-list")

    def __init__(self, inner) -> None:
        super().__init__()
        self.inner = inner

    def query(self, features):
        return self.inner.query(features)

    def item_table(self):
        return self.inner.item_table()


class Forgetful(Wrapped):
    """Traces to a graph that answers as the first batch was long: nothing of Python's own state is traced."""

    def query(self, features):
        real = int((features["item_id-list"] != 0).sum())
        return super().query(features) * (real if real > 1 else 2)  # a branch, which torch.export refuses


class NotANumber(Wrapped):
    def query(self, features):
        return super().query(features) * features["price-list"].sum(1, keepdim=True).log()


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (Forgetful, ["ranking of session 0 in case 'the sample': at rank ", "expected"]),
        (NotANumber, ["in case 'the sample': the eager model's scores are NaN; its", "the model makes NaN of them"]),
    ],
)
def test_a_model_whose_export_is_not_the_model_is_refused_and_nothing_is_written(
    export, repository, model, shop, kind, parts, format_name
):
    before = shop.snapshot(repository)
    with pytest.raises(ParityError) as caught:
        export(kind(model), options={"format": format_name})
    for part in [*parts, "The bundle was not written"]:
        assert part in str(caught.value)
    assert shop.snapshot(repository) == before
    assert list(repository.parent.iterdir()) == [repository]


def test_a_model_that_cannot_be_traced_leaves_the_repository_as_it_was(export, repository, model, shop):
    class Broken(Wrapped):
        def query(self, features):
            raise NotImplementedError("needs a GPU")

    before = shop.snapshot(repository)
    with pytest.raises(UnsupportedModel, match="Broken cannot be exported to onnx: NotImplementedError: needs a GPU"):
        export(Broken(model))
    assert shop.snapshot(repository) == before
    assert list(repository.parent.iterdir()) == [repository]


class Scores(nn.Module):
    """Only gives scores [B, V]."""

    feature_names = ("item_id-list",)

    def __init__(self, items: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rows = nn.Embedding(items, items)

    def forward(self, features):
        return self.rows(features["item_id-list"]).sum(1)


class Cosine(Wrapped):
    """Its item table is computed."""

    def item_table(self):
        return nn.functional.normalize(self.inner.item_table(), dim=1)


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
@pytest.mark.parametrize("kind", ["scores", "computed table"])
def test_models_of_other_makings_are_exported(export, model, sample, plan, kind, format_name):
    other = Scores(plan.vocabulary.cardinality) if kind == "scores" else Cosine(model)
    rows = sample[sample["session_id"] < 3]
    bundle = export(other, rows=rows, options={"format": format_name})
    document = json.loads(bundle.manifest.read_text())
    assert len(document["model_features"]) == len(other.feature_names)
    assert document["format"] == format_name
    assert max(report.score_difference for report in bundle.parity) < 1e-4


def test_a_session_that_training_s_filter_drops_is_answered(export, shop, frame, sample, tmp_path):
    long = ops.Filter(f=lambda df: df["item_id-count"] >= 2)
    workflow = shop.fit(frame, tmp_path / "fit", session_operator=long)
    bundle = export(shop.model_for(workflow), workflow, rows=sample[sample["session_id"] < 4])
    plan = shop.plan_of(workflow, sample)
    short = [session.iloc[:1] for session in plan.sessions[:3]]
    got = answer(bundle, request_tensors(short, plan.raw_features))
    assert got["status"].tolist() == [["ok"]] * 3
    by_case = {report.case: report for report in bundle.parity}
    assert by_case["length 1"].sessions == 4
    assert by_case["length 1"].judged == 0  # NVTabular has no answer


@pytest.mark.parametrize("window_slice", [(0, 4), pytest.param((4,), marks=pytest.mark.slow)])
def test_a_workflow_that_keeps_the_oldest_is_refused_unless_asked_for(
    export, shop, frame, sample, window_slice, tmp_path
):
    workflow = shop.fit(frame, tmp_path / "fit", window_slice=window_slice)
    model, rows = shop.model_for(workflow), sample[sample["session_id"] < 3]
    with pytest.raises(UnsupportedWorkflow, match=r"fit the workflow with ListSlice\(-4\), or export"):
        export(model, workflow, rows=rows)
    bundle = export(model, workflow, rows=rows, options={"keep_workflow_window": True})
    plan = shop.plan_of(workflow, rows, options=ExportOptions(keep_workflow_window=True))
    long = frame[frame["session_id"] == frame["session_id"].value_counts().idxmax()]
    got = open_step(folders(bundle)[0]).run(request_tensors([long], plan.raw_features))["feature__0"][0]
    assert plan.vocabulary.values[got - FIRST_ITEM].tolist() == long["item_id"].tolist()[:4]


def test_a_workflow_without_a_slice_is_served_with_the_window_that_is_given(export, shop, frame, sample, tmp_path):
    workflow = shop.fit(frame, tmp_path / "fit", window_slice=None)
    bundle = export(shop.model_for(workflow), workflow, rows=sample[sample["session_id"] < 3], window=3)
    by_case = {report.case: report for report in bundle.parity}
    assert by_case["length 8, beyond the window"].judged == 3


def test_integer_ids_that_no_float_holds_come_back_exactly(export, shop, tmp_path):
    frame = shop.interactions(string_items=False)
    workflow = shop.fit(frame, tmp_path / "fit")
    sample = frame[frame["session_id"] < 3]
    bundle = export(shop.model_for(workflow), workflow, rows=sample)
    plan = shop.plan_of(workflow, sample)
    request = request_tensors(plan.sessions, plan.raw_features)
    got = answer(bundle, request | {"top_k": np.full((3, 1), 100, np.int32)})["item_ids"]
    assert got.dtype == np.int64
    ids = sorted(set(frame["item_id"]))
    assert all(value % 2 and value > 2**53 for value in ids)
    for row in got:
        assert sorted(row[: len(ids)].tolist()) == ids
        assert set(row[len(ids) :].tolist()) == {np.iinfo(np.int64).min}
    assert json.loads(bundle.manifest.read_text())["response"]["item_ids"]["datatype"] == "INT64"


def test_a_vocabulary_with_the_empty_string_is_refused_with_its_column(export, shop, frame, sample, tmp_path):
    frame = frame.assign(item_id=frame["item_id"].replace("ø1", ""))
    workflow = shop.fit(frame, tmp_path / "fit")
    with pytest.raises(
        UnsupportedWorkflow, match="the vocabulary of 'item_id' holds '', which means null in a request"
    ):
        export(shop.model_for(workflow), workflow)
    assert not (tmp_path / "repository").exists()


def test_a_sample_beyond_the_limits_is_refused(export, tmp_path):
    with pytest.raises(ExportError) as caught:
        export(options={"max_id_bytes": 2})
    assert "the sample's sessions are no valid request to the bundle: input 'item_id' has " in str(caught.value)
    assert "at most 2 are allowed" in str(caught.value)
    assert not list((tmp_path / "repository").iterdir())


def test_small_limits_hold_for_the_gate_s_own_sessions_too(export, sample):
    bundle = export(rows=sample[sample["session_id"] < 3], options={"max_sessions": 1, "max_interactions": 6})
    assert json.loads(bundle.manifest.read_text())["request"]["max_sessions_per_request"] == 1


_ASK = """
import sys, json
from importlib.abc import MetaPathFinder
blocked, folder, given, wanted = json.loads(sys.argv[1]), *sys.argv[2:]

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
sys.dont_write_bytecode = True
sys.path.insert(0, folder)
import numpy as np
from pathlib import Path
from nextitem_runtime.step import open_step

with np.load(given) as tensors:
    sent = {name: values.astype(object) if values.dtype.kind in "SU" else values for name, values in tensors.items()}
answer = open_step(Path(folder)).run(sent)
np.savez(wanted, **{name: v.astype(str) if v.dtype == object else v for name, v in answer.items()})
assert not set(blocked) & {name.split(".")[0] for name in sys.modules}
"""
_NEVER = ["nextitem_export", "nextitem_training", "nextitem_client", "nextitem_server"]
_NVTABULAR = ["nvtabular", "pandas", "merlin", "dask", "pyarrow"]


@pytest.fixture(scope="module")
def torchscript_bundle(export_shop, sample):
    return export_shop(sample[sample["session_id"] < 3], format="torchscript")


@pytest.fixture(scope="module")
def native_bundle(export_shop, sample):
    return export_shop(sample[sample["session_id"] < 3], runtime="native")


@pytest.mark.parametrize(
    ("exported", "blocked"),
    [
        ("bundle", {step: [*_NEVER, *_NVTABULAR, "torch"] for step in ("features", "retrieval", "items")}),
        ("nvtabular_bundle", {"features": _NEVER}),
        ("torchscript_bundle", {"retrieval": [*_NEVER, *_NVTABULAR]}),
        ("native_bundle", {step: [*_NEVER, *_NVTABULAR, "torch", "onnxruntime"] for step in ("features", "items")}),
    ],
)
def test_steps_answer_with_the_runtime_in_the_bundle_and_nothing_of_the_exporter(
    plan, exported, blocked, tmp_path, request, shop
):
    bundle = request.getfixturevalue(exported)
    before = shop.snapshot(bundle.repository)
    sent = request_tensors(plan.sessions, plan.raw_features)
    features, retrieval, items = (open_step(folder) for folder in folders(bundle))
    encoded = features.run(sent)
    ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
    raw = dict(zip(items.inputs, [*ranked.values(), encoded["top_k_checked"]], strict=True))
    steps = {
        "features": (sent, encoded),
        "retrieval": ({name: encoded[name] for name in retrieval.inputs}, ranked),
        "items": (raw, items.run(raw)),
    }
    for folder, (name, (given, expected)) in zip(folders(bundle), steps.items(), strict=True):
        if name not in blocked:
            continue
        np.savez(tmp_path / f"{name}.npz", **{n: v.astype(bytes) if v.dtype == object else v for n, v in given.items()})
        wanted = tmp_path / f"{name}-answer.npz"
        command = [sys.executable, "-c", _ASK, json.dumps(blocked[name]), folder, tmp_path / f"{name}.npz", wanted]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(wanted) as got:
            assert set(got) == set(expected)
            for tensor, values in expected.items():
                np.testing.assert_array_equal(got[tensor], values)
    assert shop.snapshot(bundle.repository) == before


def test_a_bundle_says_where_it_is(bundle):
    assert dataclasses.asdict(bundle)["name"] == "shop"
    assert bundle.manifest == bundle.repository / "shop" / "1" / "bundle.json"


@pytest.mark.parametrize("scoring", ["int8-rerank", "ann"])
def test_an_approximate_scoring_passes_the_gate_and_says_its_recall(export_shop, sample, scoring):
    bundle = export_shop(sample[sample.session_id < 3], scoring=scoring)
    step = json.loads((bundle.repository / "shop_retrieval" / "1" / "step.json").read_text())
    assert step["scoring"] == scoring
    assert step["recall_at_20"] == 1

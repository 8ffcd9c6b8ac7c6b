"""Models that come as files, TorchScript and ONNX: held to the file in its own runtime, and to the module that it came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import save_file
from torch import nn

from export.tests.support import items_shop
from nextitem_bundle.runtime.step import open_step
from nextitem_export import ExportOptions, ModelFile, ParityError, UnsupportedModel, export_bundle
from nextitem_export.retrieval import merged
from nextitem_export.wire import request_tensors

WINDOW = 4
FEATURES = ("item_id-list", "category-list", "price-list")
KERAS = Path(__file__).parents[1] / "model_files" / "keras_gru.onnx"


class Flat(nn.Module):
    """The shop's model over flat tensors: queries, or scores."""

    def __init__(self, model: nn.Module, *, scores: bool) -> None:
        super().__init__()
        self.model = model
        self.scores = scores

    def forward(self, codes, category, price):
        query = self.model.query(dict(zip(FEATURES, (codes, category, price), strict=True)))
        return query @ self.model.item_table().T if self.scores else query


def examples():
    codes = torch.tensor([[3, 4, 5, 0], [6, 0, 0, 0]])
    return codes, codes.clamp(max=3), codes.float()


def script(model, *, scores: bool) -> torch.jit.ScriptModule:
    return torch.jit.trace(Flat(model, scores=scores).eval(), examples())


def write_onnx(module, path: Path, names=FEATURES, arguments=None, opset: int = 17) -> Path:
    arguments = examples() if arguments is None else arguments
    torch.onnx.export(
        module.eval(),
        arguments,
        str(path),
        input_names=list(names),
        output_names=["result"],
        dynamic_axes={name: {0: "B"} for name in (*names, "result")},
        opset_version=opset,
        dynamo=False,
    )
    return path


@pytest.fixture(scope="module")
def few(sample):
    return sample[sample["session_id"] < 3]


@pytest.fixture
def export(workflow, few, tmp_path):
    """Exports the shop into a repository of its own."""

    def export(model, *, features=None, **options):
        return export_bundle(
            model,
            workflow,
            few,
            repository=tmp_path / "repository",
            name="shop",
            features=features,
            tie_breaker_column="position",
            options=ExportOptions(**options),
        )

    return export


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> dict:
    """The shop's model in each form."""
    folder = tmp_path_factory.mktemp("files")
    for name, scores in (("scores", True), ("query", False)):
        torch.jit.save(script(model, scores=scores), str(folder / f"{name}.pt"))
        write_onnx(Flat(model, scores=scores), folder / f"{name}.onnx")
    table = model.item_table().detach().numpy()
    np.save(folder / "table.npy", table)
    save_file({"items": table}, folder / "table.safetensors")
    apart = onnx.load(str(folder / "scores.onnx"))
    (folder / "apart").mkdir()
    onnx.save(
        apart, str(folder / "apart" / "scores.onnx"), save_as_external_data=True, location="weights", size_threshold=0
    )
    inputs = dict(zip(("codes", "category", "price"), FEATURES, strict=True))
    return {
        "an ONNX file": ModelFile(folder / "scores.onnx"),
        "a path of ONNX": str(folder / "scores.onnx"),
        "external data": folder / "apart" / "scores.onnx",
        "a ModelProto": onnx.load(str(folder / "scores.onnx")),
        "an ONNX query": ModelFile(folder / "query.onnx", item_table=folder / "table.npy"),
        "an older opset": write_onnx(Flat(model, scores=True), folder / "older.onnx", opset=13),
        "TorchScript": ModelFile(folder / "scores.pt", inputs=inputs),
        "a ScriptModule": ModelFile(script(model, scores=True), inputs=inputs),
        "a TorchScript query": ModelFile(
            folder / "query.pt", inputs=inputs, item_table=str(folder / "table.safetensors")
        ),
        "a path of TorchScript": folder / "scores.pt",
    }


def answers(bundle, plan) -> dict:
    """What the bundle answers to the sample, by its steps."""
    features, retrieval, items = (
        open_step(bundle.repository / f"shop_{step}" / str(bundle.version))
        for step in ("features", "retrieval", "items")
    )
    encoded = features.run(request_tensors(plan.sessions, plan.raw_features))
    ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
    return items.run(dict(zip(items.inputs, [*ranked.values(), encoded["top_k_checked"]], strict=True)))


CASES = [
    ("an ONNX file", {}),
    ("a path of ONNX", {"layout": "fused"}),
    ("external data", {"runtime": "native"}),
    ("a ModelProto", {}),
    ("an ONNX query", {"scoring": "int8-rerank"}),
    ("an older opset", {}),
    ("TorchScript", {}),
    ("TorchScript", {"format": "torchscript"}),
    ("a ScriptModule", {"format": "torchscript"}),
    ("a TorchScript query", {"format": "onnx"}),
    ("a TorchScript query", {"format": "torchscript"}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_file_answers_as_the_module_that_it_came_from(export, files, bundle, plan, name, options):
    exported = export(files[name], **options)
    assert exported.fell_out == {}
    assert exported.format == options.get("format", "onnx")
    assert all(report.judged for report in exported.parity)
    if options.get("layout") == "fused":
        return  # the gate has asked it as a whole
    got, due = answers(exported, plan), answers(bundle, plan)
    np.testing.assert_allclose(got["scores"], due["scores"], atol=1e-5)
    assert (got["item_ids"] == due["item_ids"]).mean() > 0.99


@pytest.mark.parametrize("format_name", ["onnx", "torchscript"])
def test_a_path_of_torchscript_is_given_its_features_in_order(export, files, format_name):
    assert export(files["a path of TorchScript"], features=FEATURES, format=format_name).format == format_name


def test_a_tied_table_is_stored_once(export, files, model):
    bundle = export(files["an ONNX query"])
    graph = onnx.load(str(bundle.repository / "shop_retrieval" / "1" / "model.onnx"))
    table = model.item_table().detach().numpy()
    same = [t.name for t in graph.graph.initializer if np.array_equal(numpy_helper.to_array(t), table)]
    assert len(same) == 1


def test_the_reference_is_the_file_as_it_was(export, files, monkeypatch, tmp_path):
    """A merged graph that is another one does not pass against ONNX Runtime on the file."""
    prepare = merged.prepare

    def other(file):
        changed = prepare(file)
        for weight in changed.graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.dtype == np.float32 and values.ndim == 2:
                weight.CopyFrom(numpy_helper.from_array(values * 1.01, weight.name))
        return changed

    monkeypatch.setattr(merged, "prepare", other)
    with pytest.raises(ParityError, match="ranking of session"):
        export(files["an ONNX file"])
    assert list((tmp_path / "repository").iterdir()) == []


def test_operators_of_onnx_runtime_are_kept_and_others_refused(export, files):
    whole = onnx.load(str(files["an ONNX file"].model))
    (result,) = whole.graph.output
    result.name = "activated"
    for domain, op in (("com.microsoft", "Gelu"), ("org.example", "Gelu")):
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        changed.opset_import.append(helper.make_opsetid(domain, 1))
        changed.graph.node.append(helper.make_node(op, ["result"], ["activated"], "last", domain=domain))
        if domain == "com.microsoft":
            assert export(changed, replace=True).format == "onnx"
            continue
        with pytest.raises(UnsupportedModel, match=r"ONNX Runtime cannot load ModelProto|operators of org\.example"):
            export(changed)


def test_torchscript_cannot_hold_onnx(export, files):
    with pytest.raises(UnsupportedModel) as caught:
        export(files["an ONNX file"], format="torchscript")
    assert "scores.onnx is ONNX, which torchscript has no way to hold" in str(caught.value)
    assert "ExportOptions(format='onnx')" in str(caught.value)


def test_torchscript_of_several_lists_is_refused_where_nothing_says_which_is_which(export, files):
    with pytest.raises(UnsupportedModel) as caught:
        export(files["a path of TorchScript"])
    assert "scores_pt takes 3 lists (codes, category, price), and the workflow returns item_id-list" in str(
        caught.value
    )
    assert "name those that are meant as features, in the order of the arguments" in str(caught.value)
    with pytest.raises(UnsupportedModel, match=r"takes 3 lists .* and features names item_id-list: name one for each"):
        export(files["a path of TorchScript"], features=["item_id-list"])


def test_the_rows_and_ids_are_the_vocabulary_s(export, files, plan, tmp_path):
    ids = [None] * 3 + plan.vocabulary.values.tolist()
    path = files["an ONNX file"].model
    assert export(ModelFile(path, item_ids=ids)).version == 1
    wrong = ids[:3] + ids[4:] + ids[3:4]
    with pytest.raises(UnsupportedModel) as caught:
        export(ModelFile(path, item_ids=wrong))
    assert f"row 3 of scores.onnx is {wrong[3]!r} by its item_ids and {ids[3]!r} by the workflow's" in str(caught.value)
    with pytest.raises(UnsupportedModel, match=f"item_ids has {len(ids) - 1} ids, and the workflow's vocabulary has"):
        export(ModelFile(path, item_ids=ids[:-1]))
    np.save(tmp_path / "short.npy", np.ones((5, 8), np.float32))
    query = files["an ONNX query"].model
    with pytest.raises(UnsupportedModel, match=r"query\.onnx\.item_table\(\) has 5 rows, the workflow's vocabulary"):
        export(ModelFile(query, item_table=tmp_path / "short.npy"))
    with pytest.raises(UnsupportedModel, match=r"query\.onnx\.forward\(features\) gives \[2, 8\], expected scores"):
        export(query)


@pytest.mark.parametrize("kind", [items_shop.Rows, items_shop.Scores])
@pytest.mark.parametrize("as_is", [True, False], ids=["raw ids as rows", "codes and one"])
def test_a_file_that_counts_items_otherwise_is_put_behind_the_codes(tmp_path, kind, as_is):
    from nvtabular import ops

    rows = items_shop.ITEMS + (0 if as_is else 4)
    inner = kind(rows, -1 if as_is else 0)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, codes):
            query = items_shop.Rows.query(self.inner, {"item_id-list": codes})
            return query @ self.inner.items.weight.T if kind is items_shop.Scores else query

    path = write_onnx(Plain(), tmp_path / "rows.onnx", ["item"], (torch.tensor([[3, 4, 5, 0], [6, 0, 0, 0]]),))
    table = None if kind is items_shop.Scores else inner.items.weight.detach()
    frame = items_shop.clicks(np.arange(items_shop.ITEMS))
    if as_is:
        workflow = items_shop.fit(["item_id"], frame)
        options = {"item_codes": "as-is", "item_padding": -1}
    else:
        encoded = ["item_id"] >> ops.Categorify(out_path=str(tmp_path)) >> ops.LambdaOp(lambda c: c + 1)
        workflow, options = items_shop.fit(encoded, frame), {}
    file = ModelFile(path, item_table=table, inputs={"item": "item_id-list"})
    ask = items_shop.Asked(tmp_path / "repository", workflow, frame, file, **options)
    session = [0, 2, 1]
    items_shop.agrees(ask(session), items_shop.offline(workflow, frame, inner, session))


def test_a_keras_model_by_tf2onnx_answers_as_keras_did(tmp_path):
    """The file and what Keras itself answers were made by keras_gru.py."""
    from nvtabular import ops

    recorded = json.loads(KERAS.with_suffix(".json").read_text(encoding="utf-8"))
    frame = items_shop.clicks(items_shop.STRINGS)
    workflow = items_shop.fit(["item_id"] >> ops.Categorify(out_path=str(tmp_path)), frame)
    vocabulary = workflow.transform(frame.drop_duplicates("item_id").assign(session_id=range(items_shop.ITEMS)))
    assert len(vocabulary) == items_shop.ITEMS
    file = ModelFile(KERAS, inputs={"item_id_list": "item_id-list"})
    ask = items_shop.Asked(tmp_path / "repository", workflow, frame, file)
    names = dict(zip(vocabulary["item_id-list"].map(lambda row: int(row[0])), frame.item_id.unique(), strict=True))
    for codes, scores in zip(recorded["codes"], recorded["scores"], strict=True):
        answer = ask([names[code] for code in codes])
        assert answer["codes"][0].tolist() == codes + [0] * (WINDOW - len(codes))
        best = np.argsort(-np.array(scores[3:]), kind="stable") + 3
        assert answer["item_ids"][0, : items_shop.ITEMS].tolist() == [names[code] for code in best.tolist()]
        np.testing.assert_allclose(answer["scores"][0, : items_shop.ITEMS], np.array(scores)[best], atol=1e-5)

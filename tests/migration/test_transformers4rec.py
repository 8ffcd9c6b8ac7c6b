"""docs/migrating/transformers4rec.md on models of the real Transformers4Rec, in its own environment (make test-migration)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from merlin.schema import Tags
from nvtabular import ops

from nextitem_client import Client, OfflineClient
from serving_tests.support.processes import running_triton

tr = pytest.importorskip("transformers4rec.torch")
transformers_of = pytest.importorskip("transformers4rec.config.transformer")
BertConfig, RobertaConfig = transformers_of.BertConfig, transformers_of.RobertaConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migrating" / "transformers4rec.md").read_text(encoding="utf-8")
EXPORT, STATE_DICT = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WINDOW, WIDTH, K = 10, 16, 20
ITEM, CATEGORY, PRICE = "item_id_list", "category_list", "price_list"
SESSIONS = 200
#: By model: what its inputs read beside items, its masking, and what nextitem-import is told.
MODELS = {
    "xlnet_mlm": ((), "mlm", ["--masking", "mlm"]),
    "gpt2_clm": ((), "clm", ["--masking", "clm", "--heads", "2"]),
    "bert_side": (
        (CATEGORY, PRICE), "mlm",
        ["--masking", "mlm", "--body", "bert", "--heads", "2", "--task-activation", "none"],
    ),
    "xlnet_plm": ((), "plm", ["--masking", "plm"]),
    "roberta_mlm": ((), "mlm", ["--masking", "mlm", "--body", "roberta", "--heads", "2"]),
}  # fmt: skip
ASK = """
import json, sys
import pandas as pd
from nextitem_training.importing import cli
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
assert cli.main(sys.argv[2:]) == 0
found = OfflinePredictor(RunDirectory.open("run")).predict(pd.read_parquet("clicks.parquet"), int(sys.argv[1]))
with open("imported.json", "w") as file:
    json.dump([found.session_ids, found.item_ids.tolist(), found.scores.tolist()], file)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The demo's clicks without equal times, their workflow, saved, the sample and its features."""
    folder = tmp_path_factory.mktemp("shop")
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    clicks = clicks.drop_duplicates(["session_id", "timestamp"]).reset_index(drop=True)
    clicks = clicks[clicks.session_id.isin(clicks.session_id.unique()[:4_000])].reset_index(drop=True)
    item = ["item_id"] >> ops.Categorify(out_path=str(folder)) >> ops.AddMetadata(tags=[Tags.ITEM_ID])
    category = ["category"] >> ops.Categorify(out_path=str(folder))
    price = ["price"] >> ops.Normalize() >> ops.FillMissing(0.0) >> ops.AddMetadata(tags=[Tags.CONTINUOUS])
    grouped = item + category + price + ["session_id", "timestamp"] >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=["timestamp"],
        aggs={"item_id": ["list"], "category": ["list"], "price": ["list"]},
    )
    lists = grouped[ITEM, CATEGORY, PRICE] >> ops.ListSlice(-WINDOW)
    workflow = nvt.Workflow(lists + grouped["session_id"]).fit(nvt.Dataset(clicks, cpu=True))
    workflow.save(str(folder / "workflow"))
    sample = clicks[clicks.session_id.isin(clicks.session_id.unique()[-SESSIONS:])]
    sample.reset_index(drop=True).to_parquet(folder / "clicks.parquet")
    return folder, workflow, batches(workflow.transform(clicks)), workflow.transform(sample.reset_index(drop=True))


def batches(table, size=128):
    return [padded(table.iloc[start : start + size], WINDOW) for start in range(0, 2_000, size)]


def padded(table, steps):
    """The sessions' features [B, T], padded on the right with 0."""
    dtypes = {ITEM: np.int64, CATEGORY: np.int64, PRICE: np.float32}
    arrays = {name: np.zeros((len(table), steps), dtype) for name, dtype in dtypes.items()}
    for name, array in arrays.items():
        for row, values in enumerate(table[name]):
            array[row, : len(values)] = values
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def built(schema, side, masking, name):
    config = {"xlnet": tr.XLNetConfig, "gpt2": tr.GPT2Config, "bert": BertConfig, "roberta": RobertaConfig}[
        name.split("_")[0]
    ]
    more = {"d_output": WIDTH, "continuous_projection": 8, "embedding_dims": {CATEGORY: 4, ITEM: 12}} if side else {}
    inputs = tr.TabularSequenceFeatures.from_schema(
        schema.select_by_name([ITEM, *side]),
        max_sequence_length=WINDOW,
        embedding_dim_default=WIDTH,
        aggregation="concat",
        masking=masking,
        **more,
    )
    body = config.build(d_model=WIDTH, n_head=2, n_layer=1, total_seq_length=WINDOW)
    task = tr.NextItemPredictionTask(weight_tying=True, metrics=[])
    return body.to_torch_model(inputs, task, max_sequence_length=WINDOW, top_k=5)


@pytest.fixture(scope="module", params=MODELS)
def trained(request, shop, tmp_path_factory):
    """A model that was trained for two epochs, saved as Transformers4Rec does, in a folder with its workflow and sample."""
    folder, workflow, training, sample = shop
    side, masking, told = MODELS[request.param]
    torch.manual_seed(0)
    model = built(workflow.output_schema, side, masking, request.param)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for batch in training * 2:
        optimizer.zero_grad()
        model(dict(batch), training=True)["loss"].backward()
        optimizer.step()
    model.eval()
    place = tmp_path_factory.mktemp(request.param)
    for name in ("workflow", "clicks.parquet"):
        (place / name).symlink_to(folder / name)
    model.save(str(place / "saved_model"))
    model.top_k = None
    return request.param, model, place, sample, told, workflow


@torch.no_grad()
def own_scores(model, sample, mask):
    """float32 [B, V]: of sessions padded to the window, or of each alone."""
    if mask == "original":
        return model(padded(sample, WINDOW)).numpy()
    alone = [model(padded(sample.iloc[[row]], len(sample[ITEM].iloc[row]))) for row in range(len(sample))]
    return torch.cat(alone).numpy()


def ids_by_code(workflow, folder):
    table = pd.read_parquet(folder / "workflow" / "categories" / "unique.item_id.parquet")
    return np.concatenate([[""] * 3, table["item_id"].to_numpy()])


def same(items, scores, expected, ids):
    """Whether scores are the same to 1e-4, and the same items, of which those may swap whose scores are that close."""
    expected = expected.astype(np.float64).copy()
    expected[:3] = -np.inf
    best = np.argsort(-expected, kind="stable")[: len(items)]
    code = {item: place for place, item in enumerate(ids)}
    codes = [code[item] for item in items]
    np.testing.assert_allclose(scores, expected[best], atol=1e-4)
    return np.abs(expected[codes] - expected[best]).max() < 1e-5


def answers(client, sample_path):
    """The answers by session id of what this client asks."""
    clicks = pd.read_parquet(sample_path)
    names = [feature.name for feature in client.signature.features]
    return {
        session_id: client.recommend({name: rows[name].tolist() for name in names}, k=K)
        for session_id, rows in clicks.groupby("session_id")
    }


def offline_and_served(repository, sample_path):
    """The bundle's answers by the client that needs no server, and by a real Triton."""
    with OfflineClient(repository / "from_t4r") as client:
        yield answers(client, sample_path)
    with running_triton(repository) as server, Client(server.http_url, model="from_t4r") as client:
        yield answers(client, sample_path)


@pytest.mark.parametrize("mask", ["original", "proper"])
def test_the_pages_code_exports_a_model_that_answers_as_it_did(trained, mask, tmp_path, monkeypatch):
    name, model, place, sample, _, workflow = trained
    monkeypatch.chdir(place)
    code = EXPORT.replace('"original"', f'"{mask}"').replace('"model_repository"', repr(str(tmp_path)))
    exec(compile(code, "transformers4rec.md", "exec"), {})
    ids = ids_by_code(workflow, place)
    by_adapter = (name, mask) == ("xlnet_plm", "proper")  # the original has no such answer
    expected = adapted_scores(model, sample) if by_adapter else own_scores(model, sample, mask)
    for found in offline_and_served(tmp_path, place / "clicks.parquet"):
        equal = [
            same(found[session].item_ids, found[session].scores, expected[row], ids)
            for row, session in enumerate(sample["session_id"])
        ]
        assert (sum(equal), len(equal)) == (SESSIONS, SESSIONS)


@pytest.mark.parametrize("mask", ["original", "proper"])
def test_a_model_that_is_taken_over_answers_as_it_did(trained, mask, tmp_path, monkeypatch):
    name, model, place, sample, told, workflow = trained
    monkeypatch.chdir(tmp_path)
    for needed in ("workflow", "clicks.parquet", "saved_model"):
        Path(needed).symlink_to(place / needed)
    exec(compile(STATE_DICT, "transformers4rec.md", "exec"), {})
    files = ["--state-dict", "state_dict.pt", "--schema", "schema.pbtxt", "--workflow", "workflow"]
    options = [*files, "--sample", "clicks.parquet", "--output", "run", "--mask", mask, *told]
    packages = ":".join(str(ROOT / part) for part in ("bundle", "training"))
    environment = {"PYTHONPATH": packages, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", ASK, str(K), *options], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    sessions, items, scores = json.loads(Path("imported.json").read_text(encoding="utf-8"))
    by_adapter = (name, mask) == ("xlnet_plm", "proper")  # the original has no such answer
    expected = adapted_scores(model, sample) if by_adapter else own_scores(model, sample, mask)
    row_of = {session: row for row, session in enumerate(sample["session_id"])}
    ids = ids_by_code(workflow, place)
    equal = [same(items[n], scores[n], expected[row_of[session]], ids) for n, session in enumerate(sessions)]
    assert (sum(equal), len(equal)) == (SESSIONS, SESSIONS)


@torch.no_grad()
def adapted_scores(model, sample):
    """By the adapter that hides padding, float32 [B, V]."""
    from nextitem_export.adapters import from_transformers4rec

    adapted = from_transformers4rec(model, mask="proper")
    return (adapted.query(padded(sample, WINDOW)) @ adapted.item_table().T).numpy()


def test_plm_ignores_the_last_item_unless_it_is_masked_properly(trained):
    from nextitem_export.adapters import from_transformers4rec

    name, model, _, sample, *_ = trained
    if name != "xlnet_plm":
        pytest.skip("of PLM alone")
    features = padded(sample[sample[ITEM].map(len) > 1], WINDOW)
    last = (features[ITEM] != 0).sum(dim=1) - 1
    changed = {**features, ITEM: features[ITEM].clone()}
    changed[ITEM][torch.arange(len(last)), last] = 3 + (features[ITEM][torch.arange(len(last)), last] + 1) % 50
    moved = {}
    for mask in ("original", "proper"):
        adapted = from_transformers4rec(model, mask=mask)
        with torch.no_grad():
            moved[mask] = float((adapted.query(changed) - adapted.query(features)).abs().max())
    assert moved["original"] == 0 < moved["proper"]


def refusal(model, **options):
    from nextitem_export import UnsupportedModel
    from nextitem_export.adapters import from_transformers4rec

    with pytest.raises(UnsupportedModel) as refused:
        from_transformers4rec(model, **options)
    return str(refused.value)


def test_a_body_whose_padding_cannot_be_hidden_is_served_as_it_is(shop):
    schema = shop[1].output_schema.select_by_name([ITEM])
    inputs = tr.TabularSequenceFeatures.from_schema(
        schema, max_sequence_length=WINDOW, embedding_dim_default=WIDTH, aggregation="concat", masking="mlm"
    )
    body = tr.LongformerConfig.build(d_model=WIDTH, n_head=2, n_layer=1, total_seq_length=WINDOW)
    model = body.to_torch_model(inputs, tr.NextItemPredictionTask(weight_tying=True, metrics=[]))
    assert "padding cannot be hidden from the body 'longformer'" in refusal(model, mask="proper")


def test_a_model_without_its_input_block_in_front_is_refused(shop):
    model = built(shop[1].output_schema, (), "mlm", "xlnet_mlm")
    model.heads[0].body = torch.nn.Sequential(model.heads[0].body)
    assert "without TabularSequenceFeatures in front" in refusal(model)


def test_a_masking_of_ones_own_is_refused(shop):
    from transformers4rec.torch.masking import MaskSequence

    class Own(MaskSequence):
        pass

    model = built(shop[1].output_schema, (), "mlm", "xlnet_mlm")
    model.heads[0].body.inputs.set_masking(Own(WIDTH))
    assert "the model masks by Own, known are clm, mlm, plm and rtd" in refusal(model)


def test_vectors_of_the_data_loader_are_refused(shop):
    model = built(shop[1].output_schema, (), "mlm", "xlnet_mlm")
    model.heads[0].body.inputs.to_merge["pretrained_embedding_module"].features.append("vectors")
    assert "the model reads pretrained embeddings" in refusal(model)


def test_what_is_no_model_of_theirs_is_refused():
    from nextitem_export import UnsupportedModel
    from nextitem_export.adapters import from_transformers4rec

    with pytest.raises(UnsupportedModel, match="with one NextItemPredictionTask"):
        from_transformers4rec(torch.nn.Linear(1, 1))

"""A run with heads, pretrained item vectors and a bias per item, from nextitem-train to a running Triton: as offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from nextitem_server import TritonServer
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory

from asking import Asker
from packing import pack_sessions
from ranking import LOWEST, assert_true, judged
from shop import CONFIG, succeed, trained

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own

#: How each run takes the vectors of items, and the options of its export.
RUNS = {"input": (), "item": ("--layout", "fused")}
HEADS = """
[[heads]]
name = "buys_cheap"
kind = "binary"
column = "is_cheap"

[[heads]]
name = "next_price"
kind = "regression"
column = "paid"
hidden = 8
"""
COLUMNS = ["is_cheap", "paid"]
VECTOR_WIDTH = 12


@pytest.fixture(scope="module")
def told(clicks: pd.DataFrame) -> pd.DataFrame:
    """The clicks of some weeks, with what the heads learn."""
    few = clicks[clicks.timestamp >= "2008-07-28"].reset_index(drop=True)
    return few.assign(is_cheap=(few.price < 40).astype(np.int64), paid=few.price.astype(np.float64) * 100)


@pytest.fixture(scope="module", params=[pytest.param("input", marks=pytest.mark.slow), "item"])
def heads_run(request: pytest.FixtureRequest, told: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    ids = told.item_id.unique()[:-5].astype(str)  # some items come without a vector
    vectors = np.random.default_rng(0).normal(size=(len(ids), VECTOR_WIDTH))
    np.savez(folder / "vectors.npz", ids=ids, vectors=vectors)
    config = CONFIG.replace("[model]\n", "[model]\nitem_bias = true\n")
    config = config.replace('"xlnet"', '"gpt2"').replace('"mlm"', '"clm"').replace("layers = 2", "layers = 1")
    config = config.replace("[data]\n", f"[data]\nsample_sessions = 12\ntargets = {json.dumps(COLUMNS)}\n")
    inputs = f'\n[inputs]\npretrained_items = "{folder / "vectors.npz"}"\npretrained_as = "{request.param}"\n'
    return trained(told, config + inputs + HEADS, folder)


@pytest.fixture(scope="module")
def running(heads_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TritonServer, list]]:
    repository = tmp_path_factory.mktemp("served") / "model_repository"
    run = RunDirectory.open(heads_run)
    way = run.config.inputs.pretrained_as
    succeed("nextitem-export", "--run", heads_run, "--repository", repository, "--name", "shop", *RUNS[way])
    datatypes = {"string": "BYTES", "float32": "FP32", "float64": "FP32"}
    features = [{"name": f.name, "datatype": datatypes.get(f.dtype, "INT64")} for f in run.schema.raw_features]
    assert not {feature["name"] for feature in features} & set(COLUMNS)  # nobody sends what is predicted
    with TritonServer(repository) as server:
        yield server, features


def test_the_graph_holds_the_item_table_once_and_no_vectors_to_be_projected(heads_run, running) -> None:
    server, _ = running
    (ranker,) = (path for path in server.repository.glob("*/1/model.onnx") if path.parts[-3] in ("shop", "shop_ranker"))
    shapes = [list(tensor.dims) for tensor in onnx.load(str(ranker)).graph.initializer]
    items = len(OfflinePredictor(RunDirectory.open(heads_run)).item_ids)
    assert [items, VECTOR_WIDTH] not in shapes
    assert shapes.count([items, 33]) == 1  # with the bias
    assert [items, 32] not in shapes


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_items_and_heads_are_as_offline(heads_run, running, sessions, protocol) -> None:
    server, features = running
    judge = OfflinePredictor(RunDirectory.open(heads_run))
    batch = [*sessions[:30], sessions[0].iloc[:0], sessions[1].assign(item_id="never seen")]
    true = judged(judge, batch)
    assert true.status[-2:] == ["empty", "cold"]
    asker = Asker(protocol, getattr(server, f"{protocol}_url"), "shop")
    try:
        answer = asker.ask(pack_sessions(features, batch))
        alone = asker.ask(pack_sessions(features, batch[5:6]))
    finally:
        asker.close()
    assert_true(judge, batch, answer)
    assert list(answer.heads) == ["buys_cheap", "next_price"] == list(true.heads)
    for name, values in true.heads.items():
        np.testing.assert_allclose(answer.heads[name], values, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(alone.heads[name][0], values[5], rtol=1e-5, atol=1e-4)
        assert (answer.heads[name][-2:] == LOWEST).all()
        assert len(np.unique(values[:-2].round(4))) > 20  # else any row would do for any other
    assert ((answer.heads["buys_cheap"][:-2] > 0) & (answer.heads["buys_cheap"][:-2] < 1)).all()

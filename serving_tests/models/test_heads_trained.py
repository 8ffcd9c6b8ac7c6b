"""A run with heads, pretrained item vectors and a bias per item, from nextitem-train to a running Triton: as offline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from nextitem_server import TritonServer
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from serving_tests.support.encoding import encode_sessions
from serving_tests.support.made.cache import Made
from serving_tests.support.made.heads_trained_shop import COLUMNS, VECTOR_WIDTH
from serving_tests.support.processes import running_triton
from serving_tests.support.ranking import LOWEST, assert_true, judged
from serving_tests.support.raw_client import RawClient

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own


@dataclasses.dataclass(frozen=True)
class Running:
    """A server of a run's bundle. features: as in the bundle's signature, from the run's schema."""

    server: TritonServer
    run: Path
    features: list[dict[str, str]]


@pytest.fixture(scope="module", params=[pytest.param("input", marks=pytest.mark.slow), "item"])
def running(request: pytest.FixtureRequest, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Each way in which a run takes the vectors of items."""
    name = f"heads_trained_{request.param}"
    repository = made.repository(name, tmp_path_factory.mktemp("served") / "model_repository")
    schema = RunDirectory.open(made.run(name)).schema
    datatypes = {"string": "BYTES", "float32": "FP32", "float64": "FP32"}
    features = [{"name": f.name, "datatype": datatypes.get(f.dtype, "INT64")} for f in schema.raw_features]
    assert not {feature["name"] for feature in features} & set(COLUMNS)  # nobody sends what is predicted
    with running_triton(repository) as server:
        yield Running(server, made.run(name), features)


def test_the_graph_holds_the_item_table_once_and_no_vectors_to_be_projected(running: Running) -> None:
    (retrieval,) = (
        path
        for path in running.server.repository.glob("*/1/model.onnx")
        if path.parts[-3] in ("shop", "shop_retrieval")
    )
    shapes = [list(tensor.dims) for tensor in onnx.load(str(retrieval)).graph.initializer]
    items = len(OfflinePredictor(RunDirectory.open(running.run)).item_ids)
    assert [items, VECTOR_WIDTH] not in shapes
    assert shapes.count([items, 33]) == 1  # with the bias
    assert [items, 32] not in shapes


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_items_and_heads_are_as_offline(running: Running, sessions, protocol) -> None:
    reference = OfflinePredictor(RunDirectory.open(running.run))
    batch = [*sessions[:30], sessions[0].iloc[:0], sessions[1].assign(item_id="never seen")]
    true = judged(reference, batch)
    assert true.status[-2:] == ["empty", "cold"]
    raw_client = RawClient(protocol, getattr(running.server, f"{protocol}_url"), "shop")
    try:
        answer = raw_client.ask(encode_sessions(running.features, batch))
        alone = raw_client.ask(encode_sessions(running.features, batch[5:6]))
    finally:
        raw_client.close()
    assert_true(reference, batch, answer)
    assert list(answer.heads) == ["buys_cheap", "next_price"] == list(true.heads)
    for name, values in true.heads.items():
        np.testing.assert_allclose(answer.heads[name], values, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(alone.heads[name][0], values[5], rtol=1e-5, atol=1e-4)
        assert (answer.heads[name][-2:] == LOWEST).all()
        assert len(np.unique(values[:-2].round(4))) > 20  # else any row would do for any other
    assert ((answer.heads["buys_cheap"][:-2] > 0) & (answer.heads["buys_cheap"][:-2] < 1)).all()

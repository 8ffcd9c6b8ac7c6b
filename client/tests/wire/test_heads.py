"""Further heads of a model: read, shown and written to files; serving_tests/ asks real ones."""

import asyncio
import io
import json
import sys

import numpy as np
import pytest
from client.tests.support.rows import read_lines, write_lines

from nextitem_client import Head, InvalidOption, Recommendations, UnexpectedResponse, cli
from nextitem_client._wire.response import read_response
from nextitem_client.bulk import recommend_file
from nextitem_client.testing import FakeAnswer, FakeServer

HEADS = {"is_buy": 1, "style": 2}
LOWEST = np.finfo(np.float32).min


def answer(request):
    """The heads tell the session; one that is empty has none."""
    if not request.session["item_id"]:
        return ["b"]
    return FakeAnswer(["b", "c"], heads={"is_buy": [0.5], "style": [len(request.session["item_id"]), None]})


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(answer, heads=HEADS)


def test_an_answer_has_the_values_of_each_head(server):
    client = server.client()
    assert client.signature.heads == (Head("is_buy", 1), Head("style", 2))
    known, empty = client.recommend_many([{"item_id": ["a", "a"]}, {"item_id": []}])
    assert known.heads == {"is_buy": [0.5], "style": [2.0, None]}
    assert (empty.status, empty.heads) == ("empty", {"is_buy": [None], "style": [None, None]})

    async def ask():
        async with server.async_client() as other:
            return await other.recommend({"item_id": ["a", "a"]})

    assert asyncio.run(ask()).heads == known.heads


def test_a_model_without_heads_has_none():
    client = FakeServer(["b"]).client()
    assert client.signature.heads == ()
    assert client.recommend({"item_id": ["a"]}).heads == {}


def test_answers_that_are_not_as_the_signature_says():
    ids = np.array([[b"a"]], dtype=object)
    tensors = {"item_ids": ids, "scores": np.ones((1, 1), np.float32), "status": np.array([[b"ok"]], dtype=object)}
    with pytest.raises(
        UnexpectedResponse, match="answered without is_buy; expected are item_ids, scores, status, is_buy"
    ):
        read_response(tensors, 1, "shop", "1", heads=["is_buy"])
    tensors["is_buy"] = np.ones((2, 1), np.float32)
    with pytest.raises(UnexpectedResponse, match=r"answered 1 sessions with is_buy \(2, 1\); expected is \(1, N\)"):
        read_response(tensors, 1, "shop", "1", heads=["is_buy"])


def test_a_table_has_a_column_for_each_value(server):
    pytest.importorskip("pandas")
    found = server.client().recommend_many([{"item_id": ["a"]}, {"item_id": []}])
    frame = found.to_pandas()
    assert frame["session"].tolist() == [0, 0, 1]
    assert frame["head_is_buy"].fillna(-1).tolist() == [0.5, 0.5, -1]
    assert frame["head_style.0"].fillna(-1).tolist() == [1, 1, -1]
    assert frame["head_style.1"].isna().all()
    assert (
        "head_is_buy" not in Recommendations(FakeServer(["b"]).client().recommend_many([{"item_id": []}])).to_pandas()
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_file_has_a_column_for_each_value(server, tmp_path, suffix):
    source, target = tmp_path / "sessions.jsonl", tmp_path / f"items{suffix}"
    write_lines(source, [{"session_id": "x", "item_id": "a"}, {"session_id": "y", "item_id": "a"}])
    recommend_file(source, target, server.client(), k=1, progress=False)
    if suffix == ".jsonl":
        rows = read_lines(target)
    else:
        pandas = pytest.importorskip("pandas")
        rows = (pandas.read_csv if suffix == ".csv" else pandas.read_parquet)(target).to_dict("records")
    assert [row["session_id"] for row in rows] == ["x", "y"]
    assert list(rows[0])[4:] == ["status", "head_is_buy", "head_style.0", "head_style.1"]
    assert (rows[0]["head_is_buy"], rows[0]["head_style.0"]) == (0.5, 1.0)
    assert rows[0]["head_style.1"] is None or np.isnan(rows[0]["head_style.1"])


def test_the_command_shows_them(server, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_client", lambda arguments: server.client())
    for arguments in ([], ["--json"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"item_id": ["a"]})))
        assert cli.main(arguments) == 0
    table, _, document = capsys.readouterr().out.partition("{")
    assert table.splitlines()[1:3] == ["is_buy: 0.5000", "style: 1.0000 null"]
    assert json.loads("{" + document)["heads"] == {"is_buy": [0.5], "style": [1.0, None]}


def test_a_fake_answer_with_another_number_of_values():
    server = FakeServer(FakeAnswer(["b"], heads={"style": [1.0]}), heads=HEADS)
    with pytest.raises(InvalidOption, match="has 1 values of the head style; expected are 2"):
        server.client().recommend({"item_id": ["a"]})

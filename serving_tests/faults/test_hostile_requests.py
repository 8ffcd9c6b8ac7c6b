"""Bad input on the wire itself: what no client sends gets an error that says what is wrong (README.md, 8)."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from serving_tests.support.raw import hostile_grpc, hostile_http, wire_grpc, wire_http
from serving_tests.support.raw_client import RawClient

#: How often the tables are sent for the look at the memory, after as many times to warm up.
ROUNDS = 20
#: A leak of a request in each round would be twice as much: the largest have ten megabytes. The processes of all bundles
#: together go up and down by some tens of megabytes.
GROWTH_MB = 100


@pytest.fixture(scope="module")
def good(sessions, encode) -> dict[str, np.ndarray]:
    return encode([session.iloc[:3] for session in sessions if len(session) >= 3][:2])


def refused_http(server, good, case: str) -> tuple[int, str]:
    make, _, _ = hostile_http.CASES[case]
    status, body = wire_http.send(server.http_url, make(wire_http.good_document(good)))
    return status, json.loads(body)["error"]


def sent_grpc(server, good, change: wire_grpc.Change):
    message = wire_grpc.good_message(good)
    changed = change(message)
    return wire_grpc.send(server.grpc_url, message if changed is None else changed)


def refused_grpc(server, good, case: str) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        sent_grpc(server, good, hostile_grpc.CASES[case][0])
    return refused.value.code().name, refused.value.details()


def assert_sentence(error: str, part: str) -> None:
    assert part in error
    assert "Traceback" not in error
    assert ".py" not in error


@pytest.mark.parametrize("case", hostile_http.CASES)
def test_malformed_http_is_refused(server, good, case: str) -> None:
    _, due, part = hostile_http.CASES[case]
    status, error = refused_http(server, good, case)
    assert (status, part in error) == (due, True), error
    assert_sentence(error, part)


@pytest.mark.parametrize("case", hostile_grpc.CASES)
def test_malformed_grpc_is_refused(server, good, case: str) -> None:
    _, due, part = hostile_grpc.CASES[case]
    code, error = refused_grpc(server, good, case)
    assert (code, part in error) == (due, True), error
    assert_sentence(error, part)


@pytest.mark.parametrize("case", hostile_http.TAKEN)
def test_what_triton_takes_over_http(server, good, case: str) -> None:
    make, due = hostile_http.TAKEN[case]
    status, body = wire_http.send(server.http_url, make(wire_http.good_document(good)))
    assert status == 200, body
    outputs = {output["name"]: output["data"] for output in json.loads(body)["outputs"]}
    assert outputs["status"] == due


@pytest.mark.parametrize("case", hostile_grpc.TAKEN)
def test_what_triton_takes_over_grpc(server, good, case: str) -> None:
    outputs = {output.name for output in sent_grpc(server, good, hostile_grpc.TAKEN[case]).outputs}
    assert outputs == {"item_ids", "scores", "status"}


def test_an_unknown_method_of_grpc_is_refused(server) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        wire_grpc.send(server.grpc_url, b"", "/inference.GRPCInferenceService/Recommend")
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_truncated_body_has_no_answer_and_no_effect(server, good) -> None:
    document = wire_http.good_document(good)
    with pytest.raises(http.client.RemoteDisconnected):
        wire_http.send(server.http_url, hostile_http.TRUNCATED(document))
    assert wire_http.send(server.http_url, wire_http.as_json(document))[0] == 200


@pytest.mark.parametrize("retrieval", ["shop_retrieval", "shop_torchscript_retrieval"])
@pytest.mark.parametrize("code", [10**6, -(2**63)])
def test_a_step_called_by_itself_with_codes_out_of_range_survives(server, good, retrieval: str, code: int) -> None:
    described = json.loads(_get(server, f"/v2/models/{retrieval}"))["inputs"]
    inputs = []
    for tensor in described:
        shape = [1, *(64 if size == -1 else size for size in tensor["shape"][1:])]
        value = code if tensor["datatype"] == "INT64" else 0.0
        data = [value] * int(np.prod(shape))
        inputs.append({"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": data})
    raw = wire_http.as_json({"inputs": inputs}, path=f"/v2/models/{retrieval}/infer")
    status, body = wire_http.send(server.http_url, raw)
    assert status == 500
    assert f"step {retrieval} failed: " in json.loads(body)["error"]
    name = retrieval.removesuffix("_retrieval")
    answered = wire_http.as_json(wire_http.good_document(good), path=f"/v2/models/{name}/infer")
    assert wire_http.send(server.http_url, answered)[0] == 200


def _get(server, path: str) -> str:
    connection = http.client.HTTPConnection(server.http_url.split("//")[1], timeout=60)
    connection.request("GET", path)
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def memory_mb(repository: Path) -> float:
    """Resident memory of the tritonserver that serves this repository and of its steps' processes."""
    total = 0.0
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(command[0]).name in ("tritonserver", "triton_python_backend_stub") and any(
                str(repository) in argument for argument in command
            ):
                status = (folder / "status").read_text().splitlines()
                total += next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
        except OSError:
            continue
    return total


@pytest.mark.beside_the_server
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_malformed_requests_leave_nothing_behind(server, good) -> None:
    def rounds() -> float:
        for _ in range(ROUNDS):
            for case in hostile_http.CASES:
                refused_http(server, good, case)
            for case in hostile_grpc.CASES:
                refused_grpc(server, good, case)
        return memory_mb(server.repository.resolve())

    before = rounds()
    assert before > 200  # and the processes are found
    after = rounds()
    assert after - before < GROWTH_MB, f"{before:.0f} MB before, {after:.0f} MB after"
    for protocol in ("http", "grpc"):
        raw_client = RawClient(protocol, getattr(server, f"{protocol}_url"), "shop")
        assert raw_client.alive()
        assert raw_client.ask(good).status == ["ok", "ok"]
        raw_client.close()


#: Shapes that Triton 24.10 lets pass, since their product in 64 bits is right by accident, with the values that they claim.
IMPOSSIBLE = ([-2, -3], [0, 2**62], [2**32, 2**32], [2**61 + 1, 6])


@pytest.mark.parametrize("name", ["item_id", "timestamp", "price", "exclude_item_ids", "exclude_seen", "top_k"])
@pytest.mark.parametrize("shape", IMPOSSIBLE, ids=str)
@pytest.mark.parametrize(
    "bundle", ["shop", "shop_torchscript", "shop_fused", "shop_fused_torchscript", "shop_nvtabular"]
)
def test_an_impossible_shape_ends_no_step(server, good, bundle: str, name: str, shape: list[int]) -> None:
    tensors = good | {
        "exclude_item_ids": np.full((2, 3), b"A13", dtype=object),
        "exclude_seen": np.ones((2, 3), dtype=bool),
        "top_k": np.full((2, 3), 5, dtype=np.int32),
    }
    message = wire_grpc.good_message(tensors)
    message.model_name = bundle
    wire_grpc.changed(name, shape=shape)(message)
    if shape[0] in (0, 2**32):
        wire_grpc.changed(name, raw=b"")(message)
    with pytest.raises(grpc.RpcError) as refused:
        wire_grpc.send(server.grpc_url, message)
    # Where a model is batched, Triton compares the tensors' numbers of sessions, before the model sees them.
    by_triton = "fused" in bundle and "batch size" in refused.value.details()
    assert_sentence(refused.value.details(), "batch size does not match" if by_triton else "shape")
    assert_still_answers(server, good, bundle, refused.value.details())


@pytest.mark.parametrize("shape", IMPOSSIBLE, ids=str)
@pytest.mark.parametrize("bundle", ["shop", "shop_fused"])
def test_the_same_impossible_shape_everywhere_ends_no_step(server, good, bundle: str, shape: list[int]) -> None:
    message = wire_grpc.good_message({name: good[name] for name in good if name not in ("session_length", "top_k")})
    message.model_name = bundle
    for name in [tensor.name for tensor in message.inputs]:
        wire_grpc.changed(name, shape=shape)(message)
        if shape[0] in (0, 2**32):
            wire_grpc.changed(name, raw=b"")(message)
    with pytest.raises(grpc.RpcError) as refused:
        wire_grpc.send(server.grpc_url, message)
    assert_still_answers(server, good, bundle, refused.value.details())


def assert_still_answers(server, good, bundle: str, error: str) -> None:
    assert "not healthy" not in error
    answered = wire_http.as_json(wire_http.good_document(good), path=f"/v2/models/{bundle}/infer")
    assert wire_http.send(server.http_url, answered)[0] == 200


@pytest.mark.parametrize("step", ["shop_retrieval", "shop_items"])
@pytest.mark.parametrize("shape", [[2**61, 0], [0, 2**62], [-2, -3]], ids=str)
def test_an_impossible_shape_ends_no_inner_step(server, good, step: str, shape: list[int]) -> None:
    described = json.loads(_get(server, f"/v2/models/{step}"))["inputs"]
    message = pb.ModelInferRequest(model_name=step)
    for tensor in described:
        size = 4 if tensor["datatype"] in ("FP32", "INT32") else 8
        count = max(0, int(np.prod(shape)))
        message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=shape)
        message.raw_input_contents.append(bytes(count * size))
    with pytest.raises(grpc.RpcError) as refused:
        wire_grpc.send(server.grpc_url, message)
    assert "not healthy" not in refused.value.details()
    assert wire_http.send(server.http_url, wire_http.as_json(wire_http.good_document(good)))[0] == 200

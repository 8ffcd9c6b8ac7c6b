"""The soak's requests: well-formed ones and one malformed in ten, over HTTP and gRPC, and what became of them."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np

from benchmarks.load.rate_search import RATES, highest_step, nearest_step
from benchmarks.load.requests import Answer, Protocol, kserve
from benchmarks.load.trial import Trial, percentile, poisson_times, run_trial
from benchmarks.soak.counts import Counts, Request, Window
from benchmarks.support import processor_time
from benchmarks.support.own_process import ROOT
from nextitem_client import Client
from scripts.container_test.load import same, sessions
from serving_tests.support.encoding import encode_sessions
from serving_tests.support.raw import hostile_grpc, hostile_http, wire_grpc, wire_http

K = 10
#: Of all requests.
MALFORMED_SHARE, GRPC_SHARE = 0.1, 0.2
#: Malformed bodies beyond this are sent once a window and not at the rate of the others.
LARGE_BYTES = 100_000
#: Answers that are compared with the first one to the same request, of each window and protocol.
COMPARED = 200
GOOD_MS = 50.0
PATIENCE_S = 10.0


def served(folder: Path, bundles: Sequence[str]) -> Path:
    """The repository with these bundles, made by serving_tests where there is none of this project's sources."""
    key = hashlib.sha256(" ".join(bundles).encode())
    for package in ("bundle", "training", "export"):
        for file in sorted((ROOT / package / f"nextitem_{package}").rglob("*.py")):
            key.update(file.read_bytes())
    made = folder / key.hexdigest()[:12]
    if not (made / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        made.mkdir(parents=True)
        targets = [f"repository/{name}" for name in bundles]
        command = [sys.executable, "-m", "serving_tests.support.made", "--into", made, *targets]
        subprocess.run(command, cwd=ROOT, check=True)
        (made / "complete").touch()
    return made / "repository"


class Load:
    """Requests to the bundles of one server, the malformed ones to the first, and what they should be answered with."""

    def __init__(self, server: Any, bundles: Sequence[str]) -> None:
        self._server, self._bundles = server, bundles
        self.http: list[Request] = []
        self._grpc: list[Request] = []
        for bundle in bundles:
            self._add_well_formed(bundle)
        with Client(server.http_url, bundles[0], timeout_s=60.0) as client:
            features = _features(client)
        self._good = encode_sessions(features, _rows(2))
        self._malformed_http = [self._http_case(name) for name in hostile_http.CASES]
        self._malformed_grpc = [self._grpc_case(name) for name in hostile_grpc.CASES]

    def _add_well_formed(self, bundle: str) -> None:
        asked = sessions()
        with Client(self._server.http_url, bundle, timeout_s=60.0) as client:
            protocol = kserve(bundle, client.signature, K)
            first = client.recommend_many(asked, k=K)
            features = _features(client)
        for number, (session, one) in enumerate(zip(asked, first, strict=True)):
            expected = Answer(one.item_ids, one.scores, one.status)
            name = f"{bundle}, session {number}"
            self.http.append(Request(f"HTTP {name}", protocol.write(session), 200, _http_check(protocol, expected)))
            message = wire_grpc.good_message(_tensors(features, session))
            message.model_name = bundle
            self._grpc.append(Request(f"gRPC {name}", message.SerializeToString(), "OK", _grpc_check(expected)))

    def _http_case(self, name: str) -> Request:
        make, status, _ = hostile_http.CASES[name]
        raw = make(wire_http.good_document(self._good))
        return Request(f"HTTP, {name}", _http_bytes(raw), status)

    def _grpc_case(self, name: str) -> Request:
        change, code, _ = hostile_grpc.CASES[name]
        message = wire_grpc.good_message(self._good)
        changed = change(message)
        sent = message if changed is None else changed
        return Request(f"gRPC, {name}", sent if isinstance(sent, bytes) else sent.SerializeToString(), code)

    def window(self, rate: float, seconds: float, seed: int) -> Window:
        """Ask for some seconds: four fifths over HTTP, the rest over gRPC; the large malformed requests once each."""
        began = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            over_http = pool.submit(self._ask_http, rate * (1 - GRPC_SHARE), seconds, seed)
            over_grpc = pool.submit(self._ask_grpc, rate * GRPC_SHARE, seconds, seed)
            large = pool.submit(self._ask_large)
            counts = [over_http.result(), over_grpc.result(), large.result()]
        latencies = np.array([ms for one in counts for ms in one.latencies_ms])
        return Window(
            time.monotonic() - began,
            *(
                sum(getattr(one, name) for one in counts)
                for name in (
                    "well_formed",
                    "well_formed_failed",
                    "malformed",
                    "malformed_otherwise",
                    "refused",
                    "compared",
                    "wrong",
                )
            ),
            p50_ms=percentile(latencies, 0.5),
            p99_ms=percentile(latencies, 0.99),
            memory_mb=resident_mb(),
            problems=[problem for one in counts for problem in one.problems][:20],
        )

    def trial(self, rate: float, seconds: float, seed: int) -> Trial:
        """Well-formed requests alone, over HTTP."""
        return run_trial(self._server.ports.http, [request.sent for request in self.http], rate, seconds, seed=seed)

    def _mixed(self, good: Sequence[Request], bad: Sequence[Request], random: np.random.Generator) -> list[Request]:
        """Requests to choose from with equal chances, one malformed in ten."""
        bad = [request for request in bad if len(request.sent) <= LARGE_BYTES]
        count = round(len(good) * MALFORMED_SHARE / (1 - MALFORMED_SHARE))
        return [*good, *(bad[place] for place in random.permutation(max(count, len(bad))) % len(bad))][
            : len(good) + count
        ]

    def _ask_http(self, rate: float, seconds: float, seed: int) -> Counts:
        requests = self._mixed(self.http, self._malformed_http, np.random.default_rng(seed))
        port = self._server.ports.http
        trial = run_trial(
            port, [request.sent for request in requests], rate, seconds, seed=seed,
            patience_s=PATIENCE_S, kept=COMPARED,
        )  # fmt: skip
        counts = Counts(problems=list(trial.problems))
        latencies = (trial.done - trial.intended) * 1e3
        for number, place in enumerate(trial.which.tolist()):
            request, body = requests[place], trial.kept.get(number)
            counts.add(request, int(trial.status[number]), latencies[number], body, partial(_send, port, request.sent))
        return counts

    def _ask_grpc(self, rate: float, seconds: float, seed: int) -> Counts:
        random = np.random.default_rng(seed)
        requests = self._mixed(self._grpc, self._malformed_grpc, random)
        times = poisson_times(rate, seconds, random)
        counts, done = Counts(), []
        with grpc.insecure_channel(self._server.grpc_url.split("//")[1]) as channel:
            ask = channel.unary_unary(wire_grpc.METHOD)
            started = time.perf_counter()
            for due in times.tolist():
                time.sleep(max(0.0, started + due - time.perf_counter()))
                request = requests[random.integers(len(requests))]
                call = ask.future(request.sent, timeout=PATIENCE_S)
                told: list[float] = []
                call.add_done_callback(lambda _, told=told: told.append(time.perf_counter()))
                done.append((request, call, started + due, told))
            every = max(1, len(done) // COMPARED)
            for number, (request, call, intended, told) in enumerate(done):
                code = call.code().name  # waits for it
                body = call.result() if code == "OK" and number % every == 0 else None
                ended = told[0] if told else time.perf_counter()
                counts.add(request, code, (ended - intended) * 1e3, body, partial(_code, ask, request.sent))
        return counts

    def _ask_large(self) -> Counts:
        counts = Counts()
        for request in self._malformed_http:
            if len(request.sent) > LARGE_BYTES:
                send = partial(_send, self._server.ports.http, request.sent)
                counts.add(request, send(), 0.0, None, send)
        with grpc.insecure_channel(self._server.grpc_url.split("//")[1]) as channel:
            for request in self._malformed_grpc:
                if len(request.sent) > LARGE_BYTES:
                    send = partial(_code, channel.unary_unary(wire_grpc.METHOD), request.sent)
                    counts.add(request, send(), 0.0, None, send)
        return counts


def saturating_rate(load: Load, search_s: float, confirm_s: float) -> float:
    """The highest rate at which 99 of 100 well-formed requests are answered within 50 ms, confirmed by a longer trial."""

    def keeps(step: int, seconds: float = search_s) -> bool:
        latencies = load.trial(RATES[step], seconds, seed=step).latencies_ms()
        return percentile(latencies, 0.99) <= GOOD_MS

    step = highest_step(keeps, nearest_step(200), 6)
    while step > 0 and not keeps(step, confirm_s):
        step -= 1
    return RATES[max(step, 0)]


def resident_mb() -> dict[str, float]:
    """Resident memory of every process of the server, by what it runs and its id."""
    found = {}
    for pid, name in processor_time.process_tree(os.getpid()).items():
        if name.startswith(("tritonserver", "triton_python")):
            folder = Path(f"/proc/{pid}")
            status = (folder / "status").read_text(encoding="utf-8").splitlines()
            runs = name if name == "tritonserver" else _model(folder)
            found[f"{runs} {pid}"] = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    return found


def _model(process: Path) -> str:
    """The model that a stub runs: the folder above the version's in the path of its model.py."""
    arguments = (process / "cmdline").read_bytes().decode().split("\0")
    return next((Path(a).parents[1].name for a in arguments if a.endswith("model.py")), arguments[0])


def _rows(count: int) -> list[Any]:
    import pandas as pd

    long = [session for session in sessions() if len(session["item_id"]) >= 3]
    frames = [pd.DataFrame(session).iloc[:3] for session in long[:count]]
    return [frame.assign(timestamp=pd.to_datetime(frame["timestamp"])) for frame in frames]


def _features(client: Client) -> list[dict[str, str]]:
    """Of the bundle that is asked, as encode_sessions reads them."""
    return [{"name": feature.name, "datatype": feature.datatype} for feature in client.signature.features]


def _tensors(features: Sequence[dict[str, str]], session: Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
    import pandas as pd

    frame = pd.DataFrame(session)
    packed = encode_sessions(features, [frame.assign(timestamp=pd.to_datetime(frame["timestamp"]))])
    return packed | {"top_k": np.array([[K]], dtype=np.int32)}


def _http_bytes(raw: wire_http.Raw) -> bytes:
    lines = [f"{raw.method} {raw.path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(raw.body)}"]
    lines += [f"{name}: {value}" for name, value in raw.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw.body


def _send(port: int, sent: bytes) -> int:
    head, _, body = sent.partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    method, path, _ = first.split()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(header.split(": ", 1) for header in headers))
        return connection.getresponse().status
    finally:
        connection.close()


def _code(ask: Callable[..., Any], sent: bytes) -> str:
    return ask.future(sent, timeout=60).code().name


def _http_check(protocol: Protocol, expected: Answer) -> Callable[[bytes], bool]:
    return lambda body: same(protocol.read(body), expected)


def _grpc_check(expected: Answer) -> Callable[[bytes], bool]:
    from tritonclient.grpc import InferResult
    from tritonclient.grpc import service_pb2 as pb

    def right(body: bytes) -> bool:
        result = InferResult(cast("Any", pb).ModelInferResponse.FromString(body))
        ids, scores, status = (cast("np.ndarray", result.as_numpy(name)) for name in ("item_ids", "scores", "status"))
        return same(Answer([item.decode() for item in ids[0]], scores[0].tolist(), status[0, 0].decode()), expected)

    return right

"""Versions of a bundle, switched while a real Triton answers: nothing fails, and no answer is of two versions."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from nextitem_client import AmbiguousModel, Client
from nextitem_server import RepositoryError, TritonServer
from serving_tests.support.bundles import accept, change
from serving_tests.support.commands import run_command, run_here
from serving_tests.support.made.cache import Made
from serving_tests.support.made.recipes import UPDATED
from serving_tests.support.processes import eventually, processes_of, running_triton

SESSIONS = 6


@pytest.fixture
def updated(made: Made, tmp_path: Path) -> Path:
    """A repository whose bundles have a version 2 that does not answer yet, for a test to change."""
    return made.repository("updated", tmp_path / "model_repository")


#: Each bundle; the supervisor treats both alike, and what waits for it takes long.
STEPS_OR_FUSED = pytest.mark.parametrize("name", ["shop", pytest.param("shop_fused", marks=pytest.mark.slow)])


@pytest.mark.parametrize("name", UPDATED)
def test_the_export_says_that_the_version_before_goes_on_answering(made: Made, name: str) -> None:
    said = made.printed(f"updated/{name}")
    assert f"version 2 is in {made.folder / 'updated'}; version 1 answers until you activate it" in said


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "control.key"
    file.write_text("a-key-of-sixteen-signs-or-more\n")
    return file


@pytest.fixture
def serving(updated: Path, key_file: Path) -> Iterator[TritonServer]:
    with running_triton(updated, control_key=key_file.read_text().strip()) as running:
        yield running


@pytest.fixture
def shopping(sessions) -> list[dict[str, list]]:
    """Sessions for the client, each with several interactions."""
    long = [session for session in sessions if len(session) > 2][:SESSIONS]
    return [session.drop(columns="session_id").to_dict("list") for session in long]


class Load:
    """Constant load by several threads over both protocols, and what came of it."""

    def __init__(self, server: TritonServer, name: str, shopping: list[dict[str, list]]) -> None:
        self.answers: list[tuple[int, str, list, list]] = []
        self.failures: list[Exception] = []
        self.unready = 0
        self._end = threading.Event()
        urls = [server.http_url, server.http_url, server.grpc_url]
        self._threads = [threading.Thread(target=self._ask, args=(url, name, shopping)) for url in urls]
        self._threads.append(threading.Thread(target=self._watch, args=(f"{server.http_url}/v2/health/ready",)))

    def _ask(self, url: str, name: str, shopping: list[dict[str, list]]) -> None:
        with Client(url, name, retries=0) as client:
            turn = 0
            while not self._end.is_set():
                turn += 1
                which = turn % len(shopping)
                try:
                    answer = client.recommend(shopping[which], k=10)
                    self.answers.append((which, answer.model_version, answer.item_ids, answer.scores))
                except Exception as error:  # noqa: BLE001  whatever it is, there is to be none
                    self.failures.append(error)
                time.sleep(0.01)  # two cores are to be left for what loads

    def _watch(self, url: str) -> None:
        while not self._end.is_set():
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except urllib.error.HTTPError:
                self.unready += 1
            time.sleep(0.01)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def check(self, expected: dict[str, list]) -> None:
        """No request failed, and each answer is that of the version which it names."""
        assert self.failures == []
        assert self.unready == 0
        assert len(self.answers) > 100
        for which, version, items, scores in self.answers:
            right = expected[version][which]
            assert items == right.item_ids, (which, version)
            np.testing.assert_allclose(scores, right.scores, atol=1e-5)


def activate(server: TritonServer | None, repository: Path, name: str, *more: object, run=run_here):
    """The command; for a running server with its key."""
    running: tuple[object, ...] = ()
    if server is not None:
        running = ("--url", server.http_url, "--control-key-file", repository.parent / "control.key")
    return run("nextitem-export", "--repository", repository, "--name", name, "--activate", *more, *running)


def answers_of(server: TritonServer, name: str, shopping: list[dict[str, list]]) -> tuple[str, list]:
    with Client(server.http_url, name) as client:
        answers = [client.recommend(session, k=10) for session in shopping]
    (version,) = {answer.model_version for answer in answers}
    return version, answers


@pytest.mark.parametrize(
    ("name", "switches"), [("shop", 4), ("shop_fused", 2), pytest.param("shop", 10, marks=pytest.mark.slow)]
)
def test_switches_under_load(serving, updated, shopping, name, switches) -> None:
    expected = dict([answers_of(serving, name, shopping)])
    done = activate(serving, updated, name)
    assert done.returncode == 0, done.stderr
    assert f"'{name}' answers with version 2 at {serving.http_url}; before: 1" in done.stdout
    expected |= dict([answers_of(serving, name, shopping)])
    assert list(expected) == ["1", "2"]
    for one, other in zip(*expected.values(), strict=True):
        assert one.item_ids != other.item_ids
    with Load(serving, name, shopping) as load:
        for turn in range(switches):
            done = activate(serving, updated, name, 1 + turn % 2)
            assert done.returncode == 0, done.stderr
    load.check(expected)
    assert all(sum(answer[1] == version for answer in load.answers) > 20 for version in expected)
    ranks = name if "fused" in name else f"{name}_retrieval"
    loads = serving.logs().count(f"ModelInstanceInitialize: {ranks}_0_0 ")
    assert loads == 1 + 1 + switches  # at the start, and the new version of each switch: the old one never again
    # What does not answer is not in memory either.
    own = {name, f"{name}_features", f"{name}_retrieval", f"{name}_items"}
    loaded = [(model.name in own, model.version) for model in serving.models() if model.state == "READY"]
    assert set(loaded) == {(True, "2"), (False, "1")}


@pytest.mark.slow  # two commands and their switches, side by side on few cores
def test_two_activations_at_once_come_one_after_the_other(serving, updated, shopping) -> None:
    expected = dict([answers_of(serving, "shop", shopping)])
    assert activate(serving, updated, "shop").returncode == 0
    expected |= dict([answers_of(serving, "shop", shopping)])
    with Load(serving, "shop", shopping) as load, ThreadPoolExecutor() as both:
        done = list(both.map(lambda version: activate(serving, updated, "shop", version, run=run_command), (1, 2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    load.check(expected)
    told = sorted(re.search(r"answers with version (\d) .*; before: (\d)", one.stdout).groups() for one in done)
    # 2 stays and then 1 comes, or 1 comes and then 2 comes back.
    orders = {(("1", "2"), ("2", "2")): "1", (("1", "2"), ("2", "1")): "2"}
    assert answers_of(serving, "shop", shopping)[0] == orders[tuple(told)]
    assert not (updated / ".shop.lock").exists()


@pytest.mark.parametrize(("name", "step"), [("shop", "shop_retrieval"), ("shop_fused", "shop_fused")])
def test_a_version_that_cannot_be_loaded_changes_nothing(serving, updated, shopping, name, step) -> None:
    broken = updated / step / "2" / "step.json"
    change(broken, '"kind"', '"kin"')
    accept(updated / name, broken, version=2)
    before = configurations(updated)
    expected = dict([answers_of(serving, name, shopping)])
    with Load(serving, name, shopping) as load:
        done = activate(serving, updated, name)
    assert done.returncode == 2
    assert f"refused loading {step}: HTTP 400, load failed for model '{step}': version 2 is at " in done.stderr
    assert "KeyError: 'kind'" in done.stderr
    assert "; version 1 goes on answering" in done.stderr
    load.check(expected)
    assert answers_of(serving, name, shopping)[0] == "1"
    assert configurations(updated) == before


def test_a_file_that_was_tampered_with_is_refused_at_activation_and_at_start(
    serving, updated, key_file, shopping
) -> None:
    file = updated / "shop_retrieval" / "2" / "model.onnx"
    file.write_bytes(file.read_bytes() + b"!")
    before = configurations(updated)
    done = activate(serving, updated, "shop")
    assert done.returncode == 2
    assert f"{file} is not the file that was exported: its sha256 is " in done.stderr
    assert configurations(updated) == before
    assert answers_of(serving, "shop", shopping)[0] == "1"
    file = updated / "shop_items" / "1" / "step.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(RepositoryError, match=rf"{file} is not the file that was exported: .* 'shop' version 1 says"):
        TritonServer(updated).start()


def test_without_a_server_the_next_start_has_the_version(updated, shopping) -> None:
    done = activate(None, updated, "shop_fused")
    assert "'shop_fused' answers with version 2 from the next start of a server on; before: 1" in done.stdout
    done = activate(None, updated, "shop", 2, "--keep-versions", 1)
    assert "before: 1; removed: version 1" in done.stdout
    assert sorted(path.name for path in (updated / "shop_retrieval").iterdir()) == ["2", "config.pbtxt", "warmup"]
    with running_triton(updated) as server:
        assert answers_of(server, "shop_fused", shopping)[0] == "2"
        assert answers_of(server, "shop", shopping)[0] == "2"
    done = activate(None, updated, "shop_fused", 1)
    assert "'shop_fused' answers with version 1" in done.stdout  # a rollback
    done = activate(None, updated, "shop", 1)
    assert done.returncode == 2
    assert (
        f"{updated / 'shop'} has no version 1, there are 2: older ones are kept as far as --keep-versions"
        in done.stderr
    )


def test_model_control_is_closed_to_those_without_the_key(serving, updated, key_file) -> None:
    for url in (f"{serving.http_url}/v2/repository/index", f"{serving.http_url}/v2/repository/models/shop/load"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=5)
        assert refused.value.code == 403
    grpc = triton_grpc.InferenceServerClient(serving.grpc_url.split("//")[1])
    for call in (grpc.get_model_repository_index, lambda: grpc.unload_model("shop")):
        with pytest.raises(InferenceServerException, match="This protocol is restricted"):
            call()
    grpc.close()
    for url in (serving.http_url, serving.grpc_url):
        with Client(url, "shop") as client:  # asks and is answered as ever
            assert client.signature.bundle_version == 1
        with pytest.raises(AmbiguousModel, match="several nextitem models: shop, shop_fused"):
            Client(url)
    key_file.write_text("another-key-than-the-server-has")
    done = activate(serving, updated, "shop")
    assert done.returncode == 2
    assert "keeps model control closed, and the key that was sent is another one" in done.stderr
    done = run_command(
        "nextitem-export", "--repository", updated, "--name", "shop", "--activate", "--url", serving.http_url
    )
    assert "and no key was sent" in done.stderr


def test_the_list_of_unavailable_items_goes_along(serving, updated, shopping) -> None:
    barred = answers_of(serving, "shop", shopping)[1][0].item_ids[0]
    lists = [updated / "shop_retrieval" / version / "availability.json" for version in "12"]
    lists[0].write_text(json.dumps({"unavailable": [barred]}))
    assert activate(serving, updated, "shop").returncode == 0
    version, answers = answers_of(serving, "shop", shopping)
    assert version == "2"
    assert all(barred not in answer.item_ids for answer in answers)
    assert lists[1].read_bytes() == lists[0].read_bytes()


def configurations(repository: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in repository.glob("*/config.pbtxt")}


@STEPS_OR_FUSED
def test_an_update_after_a_process_was_started_again(serving, updated, shopping, name) -> None:
    """What the server then has is loaded with another instance group than the repository says."""
    expected = dict([answers_of(serving, name, shopping)])
    steps = [name] if name == "shop_fused" else [f"{name}_{step}" for step in ("features", "retrieval", "items")]
    for step in steps:
        os.kill(processes_of(serving, step)[-1], signal.SIGKILL)
        assert eventually(lambda step=step: any(f"{step} answers again" in line for line in serving.notices), 20)
    assert answers_of(serving, name, shopping)[0] == "1", "the version that answered does"
    with Load(serving, name, shopping) as load:
        for version in (2, 1):
            done = activate(serving, updated, name, version)
            assert done.returncode == 0, done.stderr
            answered, answers = answers_of(serving, name, shopping)
            assert answered == str(version)
            expected.setdefault(answered, answers)
    load.check(expected)
    loaded = {(model.name, model.version) for model in serving.models() if model.state == "READY"}
    assert {version for model, version in loaded if model in (name, *steps)} == {"1"}


@STEPS_OR_FUSED
def test_a_version_is_not_said_to_answer_while_its_process_is_dead(updated, key_file, shopping, name) -> None:
    """Under a server that starts nothing again, as a tritonserver that nextitem-serve did not start."""
    with running_triton(updated, control_key=key_file.read_text().strip()) as unwatched:
        unwatched._supervisor.stop()
        for number in processes_of(unwatched, name if name == "shop_fused" else "shop_items"):
            os.kill(number, signal.SIGKILL)
        done = activate(unwatched, updated, name, 1)
        assert done.returncode == 2
        assert f"has '{name}' loaded and gives no answer with it: HTTP 500, " in done.stderr
        assert "is not healthy. Look at the server's log, and start it again" in done.stderr

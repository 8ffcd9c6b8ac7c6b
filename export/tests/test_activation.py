from __future__ import annotations

import hashlib
import threading

import pytest

from nextitem_bundle.manifest import Manifest
from nextitem_bundle.versions import CONFIG, active_version, pinned_versions, versions_of
from nextitem_export import ControlError, RepositoryError, activate_bundle
from nextitem_export import activation as module

MODELS = ["shop_a", "shop_b", "shop"]
EMPTY = '{"unavailable": []}'


def add_version(repository, version: int, models=MODELS, availability: str = EMPTY, *, given: bool = False) -> None:
    """A version as an export places it; the first one answers."""
    digests = {}
    for model in models:
        folder = repository / model / str(version)
        folder.mkdir(parents=True)
        (folder / "graph").write_text(f"{model} {version}")
        (folder / CONFIG).write_text(f'name: "{model}" version_policy {{ specific {{ versions: {version} }} }}')
        for name in ("graph", CONFIG):
            digests[f"{model}/{version}/{name}"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if not (repository / model / CONFIG).exists():
            (repository / model / CONFIG).write_bytes((folder / CONFIG).read_bytes())
    (repository / models[0] / str(version) / "availability.json").write_text(availability)
    request = {"features": [{"name": "item_id", "datatype": "BYTES"}]}
    Manifest(models[-1], version, models, digests, availability_given=given, request=request).write(repository)


@pytest.fixture
def repository(tmp_path):
    for version in (1, 2):
        add_version(tmp_path, version)
    return tmp_path


def pins(repository, models=MODELS) -> list[tuple[int, ...]]:
    return [pinned_versions(repository / model / CONFIG) for model in models]


class FakeServer:
    """Loads what the repository's configurations say, as Triton does; `broken`: model and version that it cannot load.

    `dumb`: the version with which it gives no answer.
    """

    def __init__(self, repository, broken=None, interrupt_at=None, dumb=None) -> None:
        self.repository, self.broken, self.interrupt_at, self.dumb = repository, broken, interrupt_at, dumb
        self.served = {model: pinned_versions(repository / model / CONFIG) for model in MODELS}
        self.history: list[dict[str, tuple[int, ...]]] = []

    def __call__(self, url, key) -> FakeServer:
        self.url, self.key = url, key
        return self

    def check(self) -> None:
        pass

    def load(self, model: str) -> None:
        if len(self.history) == self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt
        for one in MODELS if model == MODELS[-1] else [model]:
            wanted = pinned_versions(self.repository / one / CONFIG)
            if self.broken and self.broken[0] == one and self.broken[1] in wanted:
                if one == model:
                    raise ControlError(f"refused loading {one}: KeyError")
                continue
            self.served[one] = wanted
        self.history.append(dict(self.served))

    def ask(self, model: str, request) -> None:
        assert request["features"]
        if self.dumb in self.served[model]:
            raise ControlError(f"gives no answer with '{model}'")

    def answering(self, model: str) -> tuple[int, ...]:
        return self.served[model]


@pytest.fixture
def server(repository, monkeypatch):
    def make(**faults):
        fake = FakeServer(repository, **faults)
        monkeypatch.setattr(module, "ModelControl", fake)
        return fake

    return make


def test_without_a_server_configurations_change_and_older_versions_go(repository):
    add_version(repository, 3)
    done = activate_bundle(repository, "shop")
    assert (done.version, done.before, done.pruned) == (3, 1, (1,))
    assert pins(repository) == [(3,)] * 3
    assert versions_of(repository, "shop") == [2, 3]
    assert (repository / "shop_a" / CONFIG).read_bytes() == (repository / "shop_a" / "3" / CONFIG).read_bytes()
    back = activate_bundle(repository, "shop", 2, keep_versions=1)
    assert (back.version, back.before, back.pruned) == (2, 3, (3,))


def test_a_running_server_has_both_versions_of_the_steps_while_the_outside_changes(repository, server):
    fake = server()
    said = []
    activate_bundle(repository, "shop", url="http://h:1", key="k", progress=said.append)
    assert (fake.url, fake.key) == ("http://h:1", "k")
    both, one, two = (1, 2), (1,), (2,)
    assert [list(state.values()) for state in fake.history] == [[both, both, one], [both, both, two], [two, two, two]]
    assert pins(repository) == [two] * 3
    assert said == [
        "comparing the files of version 2 with their checksums",
        "loading version 2 beside 1",
        "switching to version 2",
        "asking version 2",
        "letting go of version 1",
    ]


def test_a_single_model_is_switched_by_its_one_load(tmp_path, monkeypatch):
    for version in (1, 2):
        add_version(tmp_path, version, ["shop"])
    monkeypatch.setattr(f"{__name__}.MODELS", ["shop"])
    fake = FakeServer(tmp_path)
    monkeypatch.setattr(module, "ModelControl", fake)
    activate_bundle(tmp_path, "shop", url="http://h:1")
    assert fake.history == [{"shop": (2,)}]


def test_a_server_that_runs_another_version_than_the_repository_says_keeps_it_until_the_switch(repository, server):
    fake = server()
    activate_bundle(repository, "shop")  # without it
    activate_bundle(repository, "shop", 2, url="http://h:1")
    assert [list(state.values()) for state in fake.history] == [
        [(1, 2), (1, 2), (1,)],
        [(1, 2), (1, 2), (2,)],
        [(2,)] * 3,
    ]


@pytest.mark.parametrize("broken", MODELS)
def test_what_cannot_be_loaded_leaves_all_as_it_was(repository, server, broken):
    before = {path: path.read_bytes() for path in repository.rglob(CONFIG)}
    fake = server(broken=(broken, 2))
    with pytest.raises(ControlError, match=rf"refused loading {broken}: KeyError; version 1 goes on answering"):
        activate_bundle(repository, "shop", url="http://h:1")
    assert {path: path.read_bytes() for path in repository.rglob(CONFIG)} == before
    assert fake.served == dict.fromkeys(MODELS, (1,))
    assert all(state["shop"] == (1,) for state in fake.history)


def test_a_server_that_runs_another_version_keeps_it_where_the_switch_fails(repository, server):
    fake = server(broken=("shop_b", 2))
    activate_bundle(repository, "shop")
    with pytest.raises(ControlError, match="version 1 goes on answering"):
        activate_bundle(repository, "shop", 2, url="http://h:1")
    assert all(state["shop"] == (1,) for state in fake.history)
    assert all(1 in state[step] for state in fake.history for step in MODELS[:2])
    assert active_version(repository, "shop") == 2  # for the next start, as it was


def test_a_version_that_is_loaded_and_gives_no_answer_is_not_switched_to(repository, server):
    fake = server(dumb=2)
    with pytest.raises(ControlError, match="gives no answer with 'shop'; version 1 goes on answering"):
        activate_bundle(repository, "shop", url="http://h:1")
    assert fake.served == dict.fromkeys(MODELS, (1,))
    assert pins(repository) == [(1,)] * 3


def test_the_version_that_is_there_is_not_said_to_answer_where_it_does_not(repository, server):
    server(dumb=1)
    with pytest.raises(ControlError, match=r"gives no answer with 'shop'$"):
        activate_bundle(repository, "shop", 1, url="http://h:1")


@pytest.mark.parametrize("interrupt_at", [0, 1])
def test_an_interrupted_switch_goes_back(repository, server, interrupt_at):
    fake = server(interrupt_at=interrupt_at)
    with pytest.raises(KeyboardInterrupt):
        activate_bundle(repository, "shop", url="http://h:1")
    assert pins(repository) == [(1,)] * 3
    assert fake.served == dict.fromkeys(MODELS, (1,))


def test_a_server_of_another_folder_is_found_out(repository, server, monkeypatch):
    fake = server()
    monkeypatch.setattr(fake, "load", lambda model: None)
    with pytest.raises(ControlError, match=r"has no version 2 of it: does it serve .*, or a copy of it\?"):
        activate_bundle(repository, "shop", url="http://h:1")
    assert pins(repository) == [(1,)] * 3
    fake.served["shop"] = (7,)
    with pytest.raises(ControlError, match=r"answers with version 7 of 'shop', which .* has no more"):
        activate_bundle(repository, "shop", url="http://h:1")


def test_what_cannot_be_activated(repository):
    with pytest.raises(RepositoryError, match=r"shop has no version 5, there are 1, 2: older ones are kept as far as"):
        activate_bundle(repository, "shop", 5)
    (repository / "shop_b" / "2" / "graph").write_text("tampered")
    with pytest.raises(RepositoryError, match="shop_b/2/graph is not the file that was exported"):
        activate_bundle(repository, "shop", 2)
    (repository / "shop_b" / "2" / CONFIG).unlink()
    with pytest.raises(RepositoryError, match=r"shop_b/2 has no config.pbtxt of its own, .*Export it again"):
        activate_bundle(repository, "shop", 2)
    with pytest.raises(RepositoryError, match=r"holds no bundle 'hop' that is pinned to a version: export one"):
        activate_bundle(repository, "hop")
    assert active_version(repository, "shop") == 1


@pytest.mark.parametrize(
    ("given", "activated", "expected"),
    [
        (False, [2], "list of 1"),  # what acts goes on acting
        (True, [2], "list of 2"),  # it was given at the export
        (True, [2, 1], "list of 2"),  # also in a rollback
    ],
)
def test_the_list_of_unavailable_items_goes_along(tmp_path, given, activated, expected):
    for version in (1, 2):
        add_version(tmp_path, version, availability=f"list of {version}", given=given)
    for version in activated:
        activate_bundle(tmp_path, "shop", version)
    assert (tmp_path / "shop_a" / str(activated[-1]) / "availability.json").read_text() == expected


def test_two_activations_come_one_after_the_other(repository, server, monkeypatch):
    fake = server()
    waiting, load, threads, said = threading.Event(), fake.load, [], []

    def back(progress) -> None:
        activate_bundle(repository, "shop", 1, url="http://h:1", progress=progress)

    def tell(text: str) -> None:
        said.append(text)
        waiting.set()

    def load_while_another_comes(model: str) -> None:
        if not threads:
            threads.append(threading.Thread(target=back, args=(tell,)))
            threads[0].start()
            assert waiting.wait(10)
        load(model)

    monkeypatch.setattr(fake, "load", load_while_another_comes)
    assert activate_bundle(repository, "shop", 2, url="http://h:1").version == 2
    threads[0].join(10)
    assert said[0] == "waiting until another export or activation of 'shop' ends"
    assert [state["shop"] for state in fake.history] == [(1,), (2,), (2,), (2,), (1,), (1,)]
    assert pins(repository) == [(1,)] * 3
    assert not (repository / ".shop.lock").exists()

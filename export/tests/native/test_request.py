"""Every bad request gets a sentence from the native features graph, and the first of several faults is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextitem_bundle.runtime.filters import WIDTHS
from nextitem_bundle.runtime.request import RequestError
from nextitem_bundle.runtime.step import open_step
from nextitem_export import ExportOptions
from nextitem_export.native.steps import write_native_features

Change = Callable[[dict], dict]
RAW = ("item_id", "timestamp", "category", "price")


def column(*values: object, dtype: type = np.int32) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(-1, 1)


def having(**values: object) -> Change:
    return lambda t: {**t, **{k: v(t) if callable(v) else v for k, v in values.items()}}


def without(name: str) -> Change:
    return lambda t: {k: v for k, v in t.items() if k != name}


def raw(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """All raw features changed, no options."""
    return lambda t: {name: change(t[name]) for name in RAW}


def of_size(rows: int, width: int) -> Change:
    return raw(lambda values: np.repeat(np.repeat(values[:1, :1], rows, 0), width, 1))


#: What is done to a good request of two sessions, of three interactions and one, and what the sentence must hold.
BAD: dict[str, tuple[Change, list[str]]] = {
    "no price": (without("price"), ["missing input 'price'", "'item_id', ", "[sessions, interactions]"]),
    "no items": (without("item_id"), ["missing input 'item_id'"]),
    "nothing": (lambda t: {}, ["missing input 'item_id'"]),
    "no sessions": (raw(lambda v: v[:0]), ["missing input 'item_id', or no session in it"]),
    "no interactions": (raw(lambda v: v[:, :0]), ["no interactions", "at least one", "'session_length' 0"]),
    "shorter price": (having(price=lambda t: t["price"][:, :2]), ["'price' has another shape than input", "idx=2"]),
    "one column of prices": (having(price=lambda t: t["price"][:, :1]), ["'price' has another shape", "idx=1"]),
    "prices of one session": (having(price=lambda t: t["price"][:1]), ["'price' has another shape", "idx=1"]),
    "categories of three": (having(category=lambda t: t["category"][[0, 1, 1]]), ["'category' has", "idx=3"]),
    "too many sessions": (of_size(7, 3), ["too many sessions in one request, at most 6", "idx=7", "several requests"]),
    "too many interactions": (of_size(2, 201), ["interactions per session, at most 200", "idx=201", "model reads 4"]),
    "too long a session": (having(session_length=column(3, 4)), ["'session_length'", "idx=4"]),
    "a negative length": (having(session_length=column(-1, 3)), ["'session_length' is below 0", "idx=-1"]),
    "the length of one": (having(session_length=column(3)), ["'session_length'", "[sessions, 1]", "{1,1}", "{2,1}"]),
    "top_k 0": (having(top_k=column(0, 0)), ["'top_k' is out of range, expected 1 to 100", "idx=0"]),
    "a negative top_k": (having(top_k=column(-5, -5)), ["'top_k' is out of range", "idx=-5"]),
    "too high a top_k": (having(top_k=column(101, 101)), ["'top_k' is out of range", "idx=101"]),
    "two of top_k": (having(top_k=column(3, 4)), ["'top_k' has several values", "idx=4"]),
    "top_k of one": (having(top_k=column(3)), ["'top_k'", "[sessions, 1]", "{1,1}", "{2,1}"]),
    "an infinite price": (
        having(price=np.array([[1, 2, 3], [np.inf, 1, 2]], np.float32)),
        ["'price' is infinite", "-3.4028235e+38", "idx=1"],
    ),
    "excluded for one": (
        having(exclude_item_ids=lambda t: t["item_id"][:1]),
        ["'exclude_item_ids'", "[sessions, ids]", "{1,3}", "{2,3}"],
    ),
    "allowed for three": (
        having(allow_item_ids=lambda t: t["item_id"][[0, 1, 1]]),
        ["'allow_item_ids'", "[sessions, ids]", "{3,3}", "{2,3}"],
    ),
    "the flag of one": (
        having(exclude_seen=column(True, dtype=bool)),
        ["'exclude_seen'", "one flag per session", "{1,1}", "{2,1}"],
    ),
    "float64 prices": (having(price=lambda t: t["price"].astype(float)), ["'price' has type float64, expected FP32"]),
    "top_k as int64": (having(top_k=column(3, 3, dtype=np.int64)), ["'top_k' has type int64, expected int32"]),
    "flags in a row": (having(exclude_seen=np.ones((2, 3), bool)), ["'exclude_seen' has shape [2, 3]"]),
    "one dimension": (having(price=lambda t: t["price"][0]), ["'price' has shape [3]", "two dimensions"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_a_sentence(both, case):
    change, parts = BAD[case]
    good = both.request(3)
    for step in (both.python, both.native):
        with pytest.raises(RequestError) as refused:
            step.run(change(good))
    for part in parts:
        assert part in str(refused.value)
    both.assert_same(good)


def sentences(graph) -> set[str]:
    """The guards' names, in the branches too: no other node's name holds a space."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return {node.name for node in graph.node if " " in node.name}.union(*map(sentences, inner))


def test_every_sentence_of_the_graph_is_reached(strings):
    changes = [change for change, _ in BAD.values()] + [without(name) for name in RAW]
    changes += [having(**{name: lambda t, name=name: t[name][:, :2]}) for name in RAW[1:]]
    told = set()
    for change in changes:
        with pytest.raises(RequestError) as refused:
            strings.native.run(change(strings.request(3)))
        told.add(str(refused.value))
    missed = {one for one in sentences(strings.graph.graph) if not any(text.startswith(one) for text in told)}
    # Those of lists that are too long take a wider catalogue; test_more_items_than_the_limit_are_refused reaches them.
    assert all("more different items for a session" in sentence for sentence in missed), missed
    assert len(missed) == 2


def test_the_first_of_several_faults_is_told(strings):
    """In the order of the Python runtime, though ONNX promises none."""
    tensors = of_size(7, 201)(strings.request(3))
    tensors |= {"session_length": column(*[-1] * 7), "top_k": column(*[0] * 7)}
    tensors["price"] = np.full((7, 201), np.inf, np.float32)
    cures: dict[str, Change] = {
        "too many sessions": lambda t: {name: values[:2] for name, values in t.items()},
        "too many interactions": lambda t: {name: values[:, :3] for name, values in t.items()},
        "'session_length' is below": without("session_length"),
        "'top_k' is out of range": without("top_k"),
        "'price' is infinite": having(price=np.ones((2, 3), np.float32)),
    }
    for sentence, cure in cures.items():
        with pytest.raises(RequestError, match=sentence):
            strings.native.run(tensors)
        tensors = cure(tensors)
    strings.assert_same(tensors)


@pytest.mark.parametrize("name", ["exclude_item_ids", "allow_item_ids"])
def test_more_items_than_the_limit_are_refused(wide, name):
    request = wide.request(3, **{name: np.stack([np.roll(wide.ids[: WIDTHS[-1] + 1], 7)] * 2)})
    for step in (wide.python, wide.native):
        with pytest.raises(RequestError, match=rf"'{name}' has .*{WIDTHS[-1]}.*availability list"):
            step.run(request)
    with pytest.raises(RequestError, match=rf"\(idx={WIDTHS[-1] + 1}\)"):
        wide.native.run(request)


def test_the_sentences_name_the_bundle_s_own_limits(shop, workflow, sample, model, strings, tmp_path):
    options = ExportOptions(top_k=3, max_top_k=7, max_sessions=2, max_interactions=9)
    write_native_features(shop.plan_of(workflow, sample, model, options=options), tmp_path)
    step, good = open_step(tmp_path), strings.request(3)
    assert step.run(good)["top_k_checked"].tolist() == [3]
    with pytest.raises(RequestError, match="expected 1 to 7"):
        step.run({**good, "top_k": column(8, 8)})
    with pytest.raises(RequestError, match="at most 2 are allowed"):
        step.run(of_size(3, 1)(good))
    with pytest.raises(RequestError, match="at most 9 are allowed"):
        step.run(of_size(1, 10)(good))

"""nextitem_training's operators, fitted by NVTabular and compiled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nvtabular import ops

from export.tests.support.harness import Harness, fit, interactions, lists, split
from nextitem_bundle.runtime.features.hashing import PRIME, hash_string
from nextitem_bundle.runtime.features.program import Instruction
from nextitem_export import UnsupportedWorkflow
from nextitem_export.workflow.compile import compile_workflow
from nextitem_export.workflow.registry import NAMED, lowering_by_name
from nextitem_export.workflow.schedule import FeatureOutput
from nextitem_training import operators
from nextitem_training.operators import hashing

EXTREMES = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63) + 1]


@pytest.fixture(scope="module")
def shops() -> pd.DataFrame:
    return interactions([4, 3, 2], shop=EXTREMES, page=[1, 2, 3] * 3, item=list("aabbbcdaé"), clicked=[0, 1, 1] * 3)


def test_every_replacement_is_compiled():
    by_name = {name.rsplit(".", 1)[1] for name in NAMED if name.startswith("nextitem_training.")}
    # Groupby is compiled as NVTabular's own, whose subclass it is.
    assert by_name | {"Groupby"} == set(operators.__all__)
    for name in NAMED:
        module, qualified = name.rsplit(".", 1)
        assert getattr(operators, qualified).__module__ == module


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match=r"hash_bucket\.HashBucket is registered already"):
        lowering_by_name("nextitem_training.operators.hash_bucket.HashBucket")(lambda *_: {})


def test_integers_and_times_are_hashed_in_the_graph(shops):
    columns = ["shop", "page"] >> operators.HashBucket({"shop": 10**6, "page": 7})
    times = ["timestamp"] >> ops.Rename(name="at") >> operators.HashBucket(99)
    harness = Harness(fit(lists(columns + times, ["shop", "page", "at"]), shops))
    harness.check(shops)
    assert harness.one(shop=[None, 1, 1], page=[5, None, 5])["shop_list"][0] == 1
    one = harness.one(shop=[7, None, 7], page=[None, 2, 2])
    assert one["shop_list"][0] == one["shop_list"][2]
    assert one["page_list"][0] == 1


def test_crosses_of_integers_are_hashed_in_the_graph(shops):
    crossed = ["shop", "page"] >> operators.HashedCross(1000)
    harness = Harness(fit(lists(crossed, ["shop_X_page"]), shops))
    harness.check(shops)
    codes = harness.one(shop=[None, None, 3, 3], page=[None, 3, None, 3])["shop_X_page_list"]
    assert codes[0] == 1
    assert len(set(codes)) == 4


@pytest.mark.parametrize("make", [operators.HashBucket, operators.HashedCross])
def test_strings_are_hashed_by_the_numpy_program(shops, make):
    name = "item" if make is operators.HashBucket else "item_X_shop"
    columns = ["item"] if make is operators.HashBucket else ["item", "shop"]
    workflow = fit(lists(columns >> make(1000), [name]), shops)
    compiled = compile_workflow(
        workflow,
        {"item": "string", "shop": "int64", "timestamp": "datetime"},
        [FeatureOutput(f"{name}_list", "codes", "int64")],
        session_column="session_id",
        tie_breaker_column="position",
        window=4,
    )
    assert compiled.backend.name == "numpy"
    assert "hash_string" in (compiled.backend.reason or "")
    expected = workflow.transform(shops)[f"{name}_list"]
    for session, codes in zip(split(shops), expected, strict=True):
        tensors = {
            "item": session[["item"]].to_numpy(object).T,
            "shop": session[["shop"]].to_numpy().T,
            "timestamp": session["timestamp"].to_numpy().view(np.int64)[None],
            "session_length": np.array([[len(session)]]),
        }
        assert compiled.program.run(tensors)["codes"][0, : len(codes)].tolist() == list(codes)
    tensors["item"] = np.array([["", "ø"]], dtype=object)
    tensors["shop"][:] = np.iinfo(np.int64).min
    null, other, *padding = compiled.program.run(tensors)["codes"][0].tolist()
    assert (null, padding) == (1, [0, 0])
    assert other >= 2


def test_both_packages_have_one_hash():
    assert PRIME == hashing.PRIME
    words = ["", "a", "ø", "item-17", "😀" * 9]
    found = hash_string(Instruction("hash_string", (0,), "int64"), {}, np.array([words], dtype=object))
    assert found[0].tolist() == hashing.hash_strings(pd.Series(words)).tolist()


def test_target_encoding_is_a_lookup_that_needs_no_target(shops):
    encoding = operators.TargetEncoding("clicked", p_smooth=2)
    workflow = fit(lists(["item", "shop"] >> encoding, ["TE_item_clicked", "TE_shop_clicked"]), shops)
    workflow.remove_inputs(["clicked"])
    asked = shops.drop(columns=["clicked", "page"])
    harness = Harness(workflow)
    assert {feature.name for feature in harness.raw_features} == {"item", "shop", "timestamp"}
    harness.check(asked)
    unseen = harness.one(item=["x", None, "a"], shop=[5, None, 0])
    mean = np.float32(shops["clicked"].mean())
    assert unseen["TE_item_clicked_list"][:2] == unseen["TE_shop_clicked_list"][:2] == [mean, mean]


def test_target_encoding_of_several_columns_together(shops):
    encoding = [("item", "shop")] >> operators.TargetEncoding("clicked", p_smooth=2)
    workflow = fit(lists(encoding, ["TE_item_shop_clicked"]), shops)
    workflow.remove_inputs(["clicked"])
    asked = shops.drop(columns=["clicked", "page"])
    harness = Harness(workflow)
    harness.check(asked)
    unseen = harness.one(item=["x", None, "a"], shop=[5, None, 10**9])["TE_item_shop_clicked_list"]
    assert unseen == [np.float32(shops["clicked"].mean())] * 3


def test_the_stable_groupby_is_compiled_as_nvtabulars(shops):
    grouped = ["page", "session_id", "timestamp"] >> operators.Groupby(
        groupby_cols=["session_id"], sort_cols=["timestamp"], aggs={"page": ["list"]}
    )
    harness = Harness(fit(grouped[["page_list"]] >> ops.ListSlice(-4), shops))
    harness.check(shops)  # every other interaction ties in time


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ["price"] >> operators.HashBucket(9), "HashBucket on 'price'.*float32 numbers.*bin the column"),
    ],
)
def test_what_is_not_compiled_is_refused(shops, make, message):
    frame = shops.assign(price=np.arange(len(shops), dtype=np.float32))
    node = make()
    workflow = fit(lists(node, ["price"]), frame)
    with pytest.raises(UnsupportedWorkflow, match=message):
        Harness(workflow)

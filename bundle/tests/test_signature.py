from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.signature import FORMAT_VERSION, Feature, Signature, SignatureError
from nextitem_bundle.runtime.wire import DATATYPES

FORMAT = Path(__file__).parents[2] / "model_repository" / "README.md"

sizes = st.integers(1, 2**31)
signatures = st.builds(
    Signature,
    bundle_version=sizes,
    window=sizes,
    item_column=st.just("item"),
    features=st.lists(st.builds(Feature, st.text(), st.sampled_from(sorted(DATATYPES)))).map(
        lambda features: (*features, Feature("item", "string"))
    ),
    top_k_default=sizes,
    top_k_limit=sizes,
    max_sessions_per_request=sizes,
    max_interactions_per_session=sizes,
    max_id_bytes=sizes,
    max_filter_ids=sizes,
    options=st.lists(st.text()).map(tuple),
    catalogue=st.lists(
        st.builds(Feature, st.text().map("of the catalogue: {}".format), st.sampled_from(sorted(DATATYPES)))
    ).map(tuple),
)


@given(signatures)
def test_a_signature_comes_back_from_its_json(signature):
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


def test_the_documented_example_is_read_and_written_as_it_stands():
    example = re.findall(r"```json\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)[0]
    document = json.loads(example)
    signature = Signature.from_json(document)
    assert signature.to_json() == document
    assert signature.top_k_limit == 100
    assert signature.feature("dwell_s").datatype == "FP32"
    assert signature.catalogue == (Feature("category", "string"), Feature("price", "float"))


@pytest.mark.parametrize(
    ("version", "remedy"), [(1, "export the bundle again"), (99, r"upgrade the nextitem packages here \(pip install")]
)
def test_another_format_version_is_refused_with_the_remedy(version, remedy):
    with pytest.raises(SignatureError, match=f"^has format_version {version}, and .* reads {FORMAT_VERSION}: {remedy}"):
        Signature.from_json({"format_version": version})


def example():
    return json.loads(re.findall(r"```json\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)[0])


def test_keys_of_later_exporters_are_ignored_and_missing_ones_have_defaults():
    document = example()
    signature = Signature.from_json(document | {"colour": "blue"})
    assert signature == Signature.from_json(document)
    for key in ("max_filter_ids", "heads", "options", "catalogue"):
        del document[key]
    defaults = {"max_filter_ids": 16_384, "heads": (), "options": (), "catalogue": ()}
    assert Signature.from_json(document) == dataclasses.replace(signature, **defaults)


@pytest.mark.parametrize(
    ("names", "refusal"),
    [
        (["item_id", "colour"], None),
        (
            ["price", "item_id"],
            "the catalogue has 'price' of each item: leave it away; nextitem-catalogue update changes it",
        ),
        (
            ["price", 3, "category"],
            "the catalogue has 'category', 'price' of each item: leave them away; nextitem-catalogue update changes them",
        ),
    ],
)
def test_attributes_of_the_catalogue_are_refused_with_what_changes_them(names, refusal):
    assert Signature.from_json(example()).refusal(names) == refusal


def test_attributes_of_the_catalogue_are_declared_behind_features_and_options():
    signature = Signature.from_json(example())
    assert signature.inputs == (*signature.feature_names, *signature.options, "category", "price")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"item_column": "other"}, "item_column other is no feature"),
        ({"features": [{"name": "item_id", "kind": "string", "datatype": "INT64"}]}, "item_id is string as INT64"),
        ({"top_k": 3}, "TypeError"),
        (
            {"catalogue": [{"name": "item_id", "kind": "string", "datatype": "BYTES"}]},
            "item_id is a feature and an attr",
        ),
        ({"catalogue": [{"name": "price", "kind": "float", "datatype": "FP64"}]}, "price is float as FP64"),
        ({"window": "x"}, "ValueError"),
    ],
)
def test_a_damaged_one_is_refused(change, why):
    with pytest.raises(SignatureError, match=f"^is damaged .*{why}.*export the bundle again"):
        Signature.from_json(example() | change)


@pytest.mark.parametrize("text", ["", "[]", "{}", "nothing"])
def test_what_is_no_signature_is_refused(text):
    with pytest.raises(SignatureError, match=r"^is damaged"):
        Signature.from_json(text)

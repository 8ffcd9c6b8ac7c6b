from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.signature import DATATYPES, FORMAT_VERSION, RawFeature, Signature

FORMAT = Path(__file__).parents[2] / "model_repository" / "README.md"

sizes = st.integers(1, 2**31)
signatures = st.builds(
    Signature,
    bundle_version=sizes,
    window=sizes,
    item_column=st.text(),
    features=st.lists(st.builds(RawFeature, st.text(), st.sampled_from(sorted(DATATYPES)))).map(tuple),
    top_k_default=sizes,
    top_k_limit=sizes,
    max_sessions_per_request=sizes,
    max_interactions_per_session=sizes,
    max_id_bytes=sizes,
    max_filter_ids=sizes,
    options=st.lists(st.text()).map(tuple),
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
    assert signature.feature("price").datatype == "FP32"


def test_another_format_version_is_refused():
    with pytest.raises(ValueError, match=rf"format version 99, this runtime reads {FORMAT_VERSION}: export the bundle"):
        Signature.from_json({"format_version": 99})

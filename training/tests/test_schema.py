import dataclasses
import json

import pytest

from nextitem_training.errors import RunDirectoryError
from nextitem_training.schema import HeadOutput, ItemAttribute, ItemsSchema, SessionSchema


def test_a_schema_survives_its_file(schema):
    assert SessionSchema.from_json(schema.to_json()) == schema
    assert json.loads(schema.to_json())["format_version"] == 2
    assert schema.item_count == 20


def test_heads_survive_too_and_a_schema_from_before_them_has_none(schema):
    told = dataclasses.replace(schema, heads=(HeadOutput("bought", "binary", 1),))
    assert SessionSchema.from_json(told.to_json()) == told
    fields = json.loads(schema.to_json())
    del fields["heads"]
    assert SessionSchema.from_json(json.dumps(fields)) == schema


def test_the_items_survive_too_and_a_schema_from_before_them_has_none(schema):
    attributes = (ItemAttribute("tags", "multi_hot", "string", 7, 3), ItemAttribute("price", "continuous", "float32"))
    told = dataclasses.replace(schema, items=ItemsSchema(attributes, "text", 5, {"title": "name"}))
    assert SessionSchema.from_json(told.to_json()) == told
    fields = json.loads(schema.to_json())
    del fields["items"]
    assert SessionSchema.from_json(json.dumps(fields)) == schema


def test_another_format_is_refused(schema):
    newer = schema.to_json().replace('"format_version": 2', '"format_version": 3')
    with pytest.raises(RunDirectoryError, match=r"format version 3, this program reads 2"):
        SessionSchema.from_json(newer)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": 2, "features": []}'])
def test_a_malformed_schema_is_refused(text):
    with pytest.raises(RunDirectoryError, match=r"schema.json cannot be read"):
        SessionSchema.from_json(text)

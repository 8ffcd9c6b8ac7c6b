import json

import pytest

from nextitem_training.errors import RunDirectoryError
from nextitem_training.schema import SessionSchema


def test_a_schema_survives_its_file(schema):
    assert SessionSchema.from_json(schema.to_json()) == schema
    assert json.loads(schema.to_json())["format_version"] == 1
    assert schema.item_count == 20


def test_another_format_is_refused(schema):
    newer = schema.to_json().replace('"format_version": 1', '"format_version": 2')
    with pytest.raises(RunDirectoryError, match=r"format version 2, this program reads 1"):
        SessionSchema.from_json(newer)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": 1, "features": []}'])
def test_a_malformed_schema_is_refused(text):
    with pytest.raises(RunDirectoryError, match=r"schema.json cannot be read"):
        SessionSchema.from_json(text)

import pytest

from nextitem_training.config import Config, ItemsConfig, config_from
from nextitem_training.errors import ConfigError


def test_the_order_of_attributes_is_that_of_the_schema():
    items = ItemsConfig(continuous=("w",), log_continuous=("p",), multi_hot=("t",), categorical=("b", "a"))
    assert items.attributes == ("b", "a", "t", "p", "w")
    assert items.learns


def test_nothing_is_set_by_default():
    assert not Config().items.learns
    assert Config().items.shown == {}


def test_columns_for_people_are_known_by_what_they_show():
    items = ItemsConfig(title="name", url="page")
    assert items.shown == {"title": "name", "url": "page"}
    assert not items.learns


def test_a_file_of_vectors_is_no_column():
    assert ItemsConfig(vectors="text").vectors_column == "text"
    assert ItemsConfig(vectors="some/texts.npz").vectors_column == ""


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"items": {"categorical": ["a"], "multi_hot": ["a"]}}, r"\[items\] lists 'a' more than once"),
        ({"items": {"vectors": "a", "continuous": ["a"]}}, r"\[items\] lists 'a' more than once"),
        (
            {"items": {"item_column": "a", "continuous": ["a"]}},
            "item_column is 'a', which is listed as an attribute too",
        ),
        ({"items": {"cold_start": True}}, "cold_start is true, but there is nothing to recommend new items by"),
        ({"items": {"vectors_width": 3}}, "vectors_width is 3 without vectors; training writes it by itself"),
        ({"items": {"id_dropout": 1.0}}, r"\[items\] id_dropout is 1.0; it has to be less than 1"),
        ({"items": {"colour": "a"}}, r"Unknown key 'colour' in \[items\]"),
        (
            {"items": {"categorical": ["a"]}, "data": {"categorical": ["a"]}},
            r"\[items\] and \[data\] both name 'a'. Leave it out of \[data\] where it says something of the item",
        ),
        ({"items": {"categorical": ["item_id"]}}, r"\[items\] and \[data\] both name 'item_id'"),
        ({"items": {"vectors": "session_id"}}, r"\[items\] and \[data\] both name 'session_id'"),
        (
            {"items": {"vectors": "a"}, "inputs": {"pretrained_items": "b.npz"}},
            r"\[items\] vectors and \[inputs\] pretrained_items are both set; .* Leave pretrained_items out",
        ),
        (
            {"items": {"categorical": ["a"]}, "imported": {"columns": ["item_id"]}},
            r"\[items\] is set, but the model is one that nextitem-import took over, which reads no items table",
        ),
        (
            {
                "items": {"categorical": ["late"]},
                "data": {"targets": ["x"]},
                "heads": [{"name": "late", "kind": "binary", "column": "x"}],
            },
            "The head 'late' has the name of a column that callers .* send, or of an item's attribute: .*late. Give",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tables, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config_from(tables)

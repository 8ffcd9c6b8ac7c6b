"""What may be recommended where the catalogue has codes without an id; export/tests read the list's forms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY, read_availability, read_constants
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import Ranking
from nextitem_bundle.runtime.wire import NULL_INT64

INDEX = ItemIndex.of(np.array([7, NULL_INT64, 9, NULL_INT64, 8]))


@pytest.mark.parametrize(
    ("document", "left"),
    [
        (None, [3, 5, 7]),
        ({"unavailable": []}, [3, 5, 7]),
        ({"unavailable": [9, NULL_INT64]}, [3, 7]),
        ({"available": [9, NULL_INT64, 4]}, [5]),
    ],
)
def test_a_code_without_an_id_is_never_available(tmp_path, document, left):
    if document is not None:
        (tmp_path / AVAILABILITY).write_text(json.dumps(document))
    read = read_availability(tmp_path / AVAILABILITY, INDEX)
    assert np.flatnonzero(read[FIRST_ITEM:]).tolist() == [code - FIRST_ITEM for code in left]


def test_a_graph_that_asks_is_told_that_items_are_missing(tmp_path):
    constants = read_constants(tmp_path, Ranking({"a": "limited", "b": "mask", "c": "bias"}, rows=10), INDEX)
    assert constants["a"].tolist() == [True]
    assert np.flatnonzero(constants["b"]).tolist() == [3, 5, 7]
    assert np.flatnonzero(constants["c"] == 0).tolist() == [3, 5, 7]

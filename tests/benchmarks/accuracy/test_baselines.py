"""Popularity and co-occurrence, and how baselines are asked."""

import math

import numpy as np

from benchmarks.accuracy.baselines import Catalogue, baseline_ranks, cooccurrence, popularity
from benchmarks.accuracy.sessions import as_rows, every_prefix, last_of_each

TRAINING = as_rows([[5, 7, 5], [9, 7], [5, 9, 8], [7, 5]])


def ids(catalogue, scores):
    return [catalogue.ids[np.lexsort((np.arange(len(row)), -row))].tolist() for row in scores]


def test_items_are_coded_by_frequency_and_then_by_id():
    catalogue = Catalogue.of(TRAINING)
    assert catalogue.ids.tolist() == [5, 7, 9, 8]
    assert catalogue.counts.tolist() == [4, 3, 2, 1]
    assert catalogue.codes(as_rows([[8, 6, 5]])).tolist() == [3, -1, 0]


def test_popularity_answers_alike():
    catalogue = Catalogue.of(TRAINING)
    assert ids(catalogue, popularity(catalogue)([np.array([3]), np.array([-1])])) == [[5, 7, 9, 8]] * 2


def test_cooccurrence_counts_what_followed_the_last_item_and_then_popularity():
    catalogue = Catalogue.of(TRAINING)
    score = cooccurrence(TRAINING, catalogue)
    assert ids(catalogue, score([np.array([0, 2])])) == [[7, 8, 5, 9]]  # 9 was followed by 7 and by 8
    assert ids(catalogue, score([np.array([0]), np.array([0, -1])])) == [[7, 9, 5, 8], [5, 7, 9, 8]]


def test_questions_are_ranked_and_unknown_answers_missed():
    catalogue = Catalogue.of(TRAINING)
    questions = every_prefix(as_rows([[8, 5, 6, 7]]))
    assert baseline_ranks(popularity(catalogue), questions, catalogue, "").tolist() == [1, math.inf, 2]


def test_items_of_the_input_are_hidden_where_the_protocol_says_so():
    catalogue = Catalogue.of(TRAINING)
    questions = last_of_each(as_rows([[5, 6, 9], [5, 5]]), hides_seen=True)
    assert baseline_ranks(popularity(catalogue), questions, catalogue, "").tolist() == [2, math.inf]

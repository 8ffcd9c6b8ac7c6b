"""What becomes of a request in the soak's figures."""

import pytest

from benchmarks.soak.counts import Counts, Request


def never() -> int:
    raise AssertionError("sent once more")


@pytest.mark.parametrize(
    ("expected", "found", "again", "failed", "refused"),
    [
        (200, 200, never, 0, 0),
        (200, 500, never, 1, 0),
        (200, 503, lambda: 200, 0, 1),
        (200, 503, lambda: 503, 1, 1),
        ("OK", "UNAVAILABLE", lambda: "OK", 0, 1),
        (503, 503, never, 0, 0),
    ],
)
@pytest.mark.parametrize("well_formed", [True, False])
def test_what_is_refused_under_load_is_asked_once_more(expected, found, again, failed, refused, well_formed):
    counts = Counts()
    counts.add(Request("one", b"", expected, (lambda _: True) if well_formed else None), found, 1.0, None, again)
    assert (counts.well_formed, counts.malformed) == ((1, 0) if well_formed else (0, 1))
    assert (counts.well_formed_failed, counts.malformed_otherwise) == ((failed, 0) if well_formed else (0, failed))
    assert (counts.refused, len(counts.problems)) == (refused, failed)


def test_an_answer_is_compared_where_it_is_kept():
    counts = Counts()
    for body in (b"right", b"wrong", None):
        counts.add(Request("one", b"", 200, lambda body: body == b"right"), 200, 1.0, body, never)
    assert (counts.compared, counts.wrong, counts.well_formed_failed) == (2, 1, 0)

from __future__ import annotations

from nextitem_bundle.runtime.triton.load_shedding import LEAST, LoadShedding


class Server:
    """Answers and carries requests at fixed costs, in ms each, on a clock of its own."""

    def __init__(self, max_requests: int, max_ms: float, exempt: int = 0) -> None:
        self.now_s = 0.0
        self.load_shedding = LoadShedding(max_requests, max_ms, exempt, lambda: self.now_s)

    def batch(self, waiting: int, answer_ms: float = 0.0, carriage_ms: float = 0.0) -> int:
        self.now_s += waiting * carriage_ms / 1e3
        taken = self.load_shedding.begin(waiting)
        self.now_s += taken * answer_ms / 1e3
        self.load_shedding.end(taken)
        return taken


def test_all_are_taken_until_something_is_known_of_their_cost():
    assert Server(0, 20).batch(1000) == 1000
    assert Server(256, 20).batch(1000) == 256


def test_no_more_are_taken_than_can_be_answered_in_time():
    server = Server(0, 20)
    server.batch(10, 1.0)
    assert [server.batch(waiting, 1.0) for waiting in (5, 19, 1000)] == [5, 19, 20]


def test_what_it_takes_to_carry_all_that_wait_is_left_out_of_that_time():
    server = Server(0, 20)
    server.batch(10, 1.0, 0.1)
    assert server.batch(50, 1.0, 0.1) == 15
    assert server.batch(100, 1.0, 0.1) == 10
    assert server.batch(400, 1.0, 0.1) == LEAST


def test_the_latest_batches_count_most_and_one_of_them_is_not_all():
    server = Server(0, 20)
    server.batch(10, 1.0)
    server.batch(10, 10.0)
    assert LEAST <= server.batch(1000, 10.0) < 20
    for _ in range(50):
        server.batch(10, 10.0)
    assert server.batch(1000, 10.0) == LEAST


def test_small_batches_say_nothing():
    server = Server(0, 20)
    server.batch(7, 1000.0, 1000.0)
    assert server.batch(1000) == 1000


def test_a_few_are_taken_however_slow_they_are_so_that_it_shows_when_they_are_no_more():
    server = Server(0, 20)
    server.batch(8, 10_000.0, 1000.0)
    assert [server.batch(waiting, 10_000.0) for waiting in (5, 300)] == [5, LEAST]
    for _ in range(100):
        server.batch(300, 0.01)
    assert server.batch(300, 0.01) == 300


def test_zero_is_no_limit():
    server = Server(0, 0)
    server.batch(8, 10_000.0, 1000.0)
    assert server.batch(300) == 300


def test_a_warm_up_is_answered_whole_and_says_nothing_of_the_cost():
    server = Server(0, 20, exempt=1 + 8 + 16)
    assert [server.batch(waiting, 1000.0) for waiting in (1, 8, 16)] == [1, 8, 16]
    assert server.batch(300, 0.01) == 300
    assert 1990 <= server.batch(3000, 0.01) <= 2000

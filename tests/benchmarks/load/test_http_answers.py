"""Answers off a connection, however they are cut."""

import pytest

from benchmarks.load.http_answers import AnswerReader, UnreadableAnswerError

ANSWERS = {
    "triton": b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: 4\r\n"
    b"Content-Length: 9\r\n\r\n{}\r\n\r\nabc",
    "lower case": b"HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 9\r\nserver: uvicorn\r\n\r\n{}\r\n\r\nabc",
}
BODY = b"{}\r\n\r\nabc"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_whole_answer(answer):
    assert AnswerReader().feed(answer) == (200, BODY)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_in_two_parts_wherever_it_is_cut(answer):
    for cut in range(1, len(answer)):
        reader = AnswerReader()
        assert reader.feed(answer[:cut]) is None
        assert reader.feed(answer[cut:]) == (200, BODY)


def test_an_answer_byte_by_byte_and_the_next_one_on_the_same_connection():
    reader = AnswerReader()
    for answer in ANSWERS.values():
        found = [reader.feed(answer[at : at + 1]) for at in range(len(answer))]
        assert found == [None] * (len(answer) - 1) + [(200, BODY)]


def test_an_empty_body_and_another_status():
    assert AnswerReader().feed(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") == (503, b"")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "without Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "whose Content-Length is no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "with other bytes before or behind it"),
        (b"abHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "with other bytes before or behind it"),
    ],
)
def test_what_is_no_single_answer_is_refused(data, what):
    with pytest.raises(UnreadableAnswerError, match=what):
        AnswerReader().feed(data)

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.config import DataConfig
from nextitem_training.data.sessions import EncodedSessions, pad, select
from nextitem_training.loop.examples import SessionSegments


def sessions_of(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.arange(offsets[-1], dtype=np.int64) + 3
    return EncodedSessions(np.arange(len(lengths)), offsets, {"item_id": items})


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    window=st.integers(1, 7),
    shortest=st.integers(2, 4),
)
def test_every_next_item_of_a_long_enough_session_is_a_target_once(lengths, window, shortest):
    sessions = sessions_of(lengths)
    segments = SessionSegments(sessions, DataConfig(window=window, min_session_length=shortest))
    targets = []
    for start, length in zip(segments.starts, segments.lengths, strict=True):
        assert 2 <= length <= window + 1
        targets += list(range(start + 1, start + length))
    wanted = [
        position
        for start, length in zip(sessions.offsets[:-1], sessions.lengths, strict=True)
        if length >= shortest
        for position in range(start + 1, start + length)
    ]
    assert sorted(targets) == wanted


def test_the_last_piece_is_a_full_window_and_its_target():
    segments = SessionSegments(sessions_of([9]), DataConfig(window=3))
    batch = segments.collate([segments[0], segments[len(segments) - 1]])["features"]["item_id"]
    assert batch.dtype == torch.int64
    assert batch[0].tolist() == [8, 9, 10, 11]  # items 3 to 11


def test_padding_is_on_the_right_and_zero():
    sessions = sessions_of([2, 0, 3])
    assert select(sessions, [2, 1, 0])["item_id"].tolist() == [[5, 6, 7], [0, 0, 0], [3, 4, 0]]
    empty = pad({"x": np.empty(0, np.float32)}, np.array([0]), np.array([0]))
    assert empty["x"].tolist() == [[0.0]]

import numpy as np
import pytest
import torch

from nextitem_training.config import DataConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.loop.batches import MicroBatches, MicroBatchSampler, StepLoader
from nextitem_training.loop.examples import SessionSegments

LENGTHS = np.random.default_rng(0).integers(2, 9, 103)


def steps(accumulated=1, processes=1, epoch=0, seed=1):
    """For each step the sorted segments of all micro-batches of all processes."""
    found = []
    for process in range(processes):
        sampler = MicroBatchSampler(LENGTHS, 12, MicroBatches(accumulated, processes, process), seed)
        sampler.set_epoch(epoch)
        micro_batches = list(sampler)
        assert len(micro_batches) == len(sampler)
        found.append(micro_batches)
    by_step = zip(*(zip(*[iter(micro_batches)] * accumulated, strict=True) for micro_batches in found), strict=True)
    return [sorted(segment for own in step for micro_batch in own for segment in micro_batch) for step in by_step]


@pytest.mark.parametrize(("accumulated", "processes"), [(3, 1), (1, 2), (2, 3), (12, 1)])
def test_however_a_step_is_divided_it_holds_the_same_pieces(accumulated, processes):
    assert steps(accumulated, processes) == steps()


def test_an_epoch_holds_every_piece_once_and_another_epoch_has_another_order():
    first = steps()
    assert sorted(segment for step in first for segment in step) == list(range(103))
    assert [len(step) for step in first] == [12] * 8 + [7]
    assert first != steps(epoch=1)
    assert steps(epoch=1) == steps(epoch=1)


def test_an_empty_part_is_padding_alone():
    offsets = np.array([0, 3, 5])
    sessions = EncodedSessions(np.arange(2), offsets, {"item_id": np.arange(3, 8), "price": np.ones(5, np.float32)})
    segments = SessionSegments(sessions, DataConfig(window=4))
    batches = list(StepLoader(segments, 4, MicroBatches(accumulated=4), seed=0))
    assert len(batches) == 4
    assert sum(int((batch["features"]["item_id"] > 0).sum()) for batch in batches) == 5
    for name, values in batches[-1]["features"].items():
        assert torch.equal(values, torch.zeros_like(values)), name

import pytest
import torch

from nextitem_training.config import ModelConfig
from nextitem_training.errors import ConfigError
from nextitem_training.pretraining import OBJECTIVES
from nextitem_training.pretraining.cutting import scatter
from nextitem_training.special_ids import PADDING

ITEMS = torch.tensor([[5, 6, 7, 0], [8, 0, 0, 0], [0, 0, 0, 0], [4, 1, 2, 9]])
TESTED = ("clm", "mlm", "plm", "rtd")


@pytest.fixture
def embedded():
    return torch.arange(4 * 4 * 8, dtype=torch.float32).reshape(4, 4, 8) + 1


def make(name, **fields):
    torch.manual_seed(0)
    return OBJECTIVES.get(name)(ModelConfig(d_model=8, heads=2, **fields), no_further_body)


def no_further_body(d_model, heads):
    raise AssertionError("this objective trains one body")


def test_every_registered_approach_is_tested():
    assert list(OBJECTIVES) == sorted(TESTED)


def test_an_unknown_approach_is_refused():
    with pytest.raises(ConfigError, match=r"no pre-training objective 'clam'.*Known are clm, mlm, plm, rtd"):
        OBJECTIVES.get("clam")


def test_clm_predicts_the_next_item_from_each_step(embedded):
    targets = make("clm").targets(embedded, ITEMS)
    assert targets.items.tolist() == ITEMS[:, 1:].tolist()
    assert targets.mask.tolist() == (ITEMS[:, :3] != PADDING).tolist()


def test_clm_answers_from_the_last_real_step(embedded):
    objective = make("clm")
    prediction = objective.prediction(embedded, ITEMS)
    assert prediction.position.tolist() == [2, 0, 0, 3]
    assert torch.equal(prediction.inputs_embeds[0, :3], embedded[0, :3])
    assert torch.equal(prediction.inputs_embeds[0, 3], objective.placeholder)


def test_mlm_appends_a_mask_and_answers_from_it(embedded):
    objective = make("mlm")
    prediction = objective.prediction(embedded, ITEMS)
    assert prediction.position.tolist() == [3, 1, 0, 4]
    assert prediction.mask.sum(1).tolist() == [4, 2, 1, 5]
    for row, position in enumerate(prediction.position):
        assert torch.equal(prediction.inputs_embeds[row, position], objective.placeholder)
        assert torch.equal(prediction.inputs_embeds[row, :position], embedded[row, :position])


def test_mlm_hides_the_whole_interaction_wherever_it_asks_for_the_item(embedded):
    objective = make("mlm", mask_probability=0.5)
    last, within = set(), 0
    for _ in range(50):
        targets = objective.targets(embedded, ITEMS)
        wanted = targets.items != PADDING
        assert (targets.items[wanted] == ITEMS[wanted]).all()
        assert (targets.items[wanted] >= 3).all()  # neither null nor unknown
        hidden = (targets.inputs_embeds == objective.placeholder).all(-1)
        assert torch.equal(hidden, wanted)
        shown = targets.mask & ~hidden
        assert torch.equal(targets.inputs_embeds[shown], embedded[shown])
        for row in (0, 3):
            length = int(targets.mask[row].sum())
            if length < int((ITEMS[row] != PADDING).sum()) or wanted[row, length - 1]:
                last.add((row, length))
            within += int(wanted[row, : length - 1].sum())
    assert {(0, 2), (0, 3), (3, 4)} <= last  # sessions end everywhere
    assert within  # and items are hidden inside


def drawn(name, embedded, **fields):
    """Fifty training batches."""
    objective = make(name, **fields)
    return [objective.targets(embedded, ITEMS) for _ in range(50)]


def test_plm_hides_targets_from_the_query_and_from_what_comes_before_them(embedded):
    together = set()
    for targets in drawn("plm", embedded, mask_probability=0.5):
        assert torch.equal(targets.inputs_embeds[targets.mask], embedded[targets.mask])  # nothing is replaced
        assert not targets.visible.diagonal(dim1=1, dim2=2).any()
        assert not (targets.visible & ~targets.mask[:, None, :]).any()
        wanted = targets.items != PADDING
        assert (targets.items[wanted] == ITEMS[wanted]).all()
        assert (targets.items[wanted] >= 3).all()  # neither null nor unknown
        assert not wanted[1:3].any()  # nothing to predict a single item from
        for row in (0, 3):
            length = int(targets.mask[row].sum())
            sight = targets.visible[row]
            steps = wanted[row].nonzero().flatten().tolist()
            for i in steps:
                assert sight[i].any()
                given = sight[i].sum()  # an order: whoever sees more comes later and is not seen
                for j in steps:
                    assert sight[i, j] == (sight[j].sum() < given)
            # The items that are given see each other and no target.
            seen_by_all = sight[:length].sum(0) == length - 1
            assert not (sight[seen_by_all][:, wanted[row]]).any()
            together.add((row, length, tuple(steps)))
    assert {(0, 2, (1,)), (0, 3, (2,)), (3, 4, (3,))} <= together  # the last alone, as at inference
    assert {(0, 3, (0,)), (0, 3, (1,))} & together  # and any order
    assert not {(0, 2, (0,))} & together


def test_plm_answers_from_a_step_that_sees_every_item_and_is_seen_by_none(embedded):
    prediction = make("plm").prediction(embedded, ITEMS)
    assert prediction.position.tolist() == [3, 1, 0, 4]
    assert prediction.mask.sum(1).tolist() == [3, 1, 0, 4]
    assert prediction.mask.shape == (4, 5)
    assert prediction.visible is None  # whatever is real but itself
    assert torch.equal(prediction.inputs_embeds[:, :4][prediction.mask[:, :4]], embedded[ITEMS != PADDING])


def test_scattered_items_leave_one_and_take_one():
    drawn = torch.stack([scatter(ITEMS, 0.3) for _ in range(300)])
    assert not drawn[:, ITEMS == PADDING].any()
    for row, length in ((0, 3), (3, 4)):
        assert drawn[:, row].sum(1).min() == 1
        assert drawn[:, row].sum(1).max() == length - 1
        assert drawn[:, row, :length].any(0).all()  # every position has its turn
    sure = torch.stack([scatter(ITEMS, 0.999) for _ in range(20)])
    assert (sure[:, 3].sum(1) == 3).any()

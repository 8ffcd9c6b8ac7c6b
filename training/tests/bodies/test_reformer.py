import dataclasses

import pytest
import torch
from transformers import ReformerModel

from nextitem_training.bodies.reformer import ReformerBody, configuration
from training.tests.support import small_bodies
from training.tests.support.small_bodies import WIDTH, small_settings

POSITIONS = 9
SETTINGS = small_settings(POSITIONS, "bidirectional")


def masks(lengths, steps=POSITIONS):
    return small_bodies.masks(lengths, steps)


def pair(settings):
    """Hugging Face's own and ours with its weights."""
    torch.manual_seed(0)
    theirs, ours = ReformerModel(configuration(settings)), ReformerBody(settings)
    for parameter in theirs.parameters():  # biases and LayerNorms do not start at what they end at
        parameter.data += 0.1 * torch.randn_like(parameter)
    ours.encoder.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("positions", [9, 7, 2, 1])
@pytest.mark.parametrize("layers", [1, 3])
def test_both_streams_are_those_of_hugging_face(layers, positions):
    theirs, ours = (model.eval() for model in pair(dataclasses.replace(SETTINGS, layers=layers, positions=positions)))
    for steps in {1, positions}:
        embedded, mask = torch.randn(3, steps, WIDTH), masks([steps, 1, (steps + 1) // 2], steps)
        zeroed = embedded.masked_fill(~mask[..., None], 0.0)
        with torch.no_grad():
            expected = theirs(inputs_embeds=zeroed, attention_mask=mask).last_hidden_state
            torch.testing.assert_close(ours.streams(embedded, mask), expected, atol=1e-5, rtol=0)
            halves = expected.chunk(2, dim=-1)
            torch.testing.assert_close(ours(embedded, mask), (halves[0] + halves[1]) / 2, atol=1e-5, rtol=0)


def test_gradients_are_those_of_the_reversible_function():
    theirs, ours = pair(dataclasses.replace(SETTINGS, dropout=0.0))
    embedded, mask = torch.randn(3, POSITIONS, WIDTH), masks([POSITIONS] * 3)
    weight = torch.randn(3, POSITIONS, 2 * WIDTH) / 100
    (theirs.train()(inputs_embeds=embedded, attention_mask=mask).last_hidden_state * weight).sum().backward()
    (ours.train().streams(embedded, mask) * weight).sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.encoder.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-4, msg=name)


def test_kinds_of_attention_take_turns():
    kinds = [type(layer.attention.self_attention).__name__ for layer in ReformerBody(SETTINGS).encoder.encoder.layers]
    assert kinds == ["LocalSelfAttention", "LSHSelfAttention", "LocalSelfAttention"]


def test_nothing_is_hashed_and_no_seed_is_touched():
    body = ReformerBody(SETTINGS).eval()
    embedded, mask = torch.randn(2, POSITIONS, WIDTH), masks([POSITIONS, 4])
    before = torch.get_rng_state()
    with torch.no_grad():
        first, second = body(embedded, mask), body(embedded, mask)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_is_repeatable_under_a_seed():
    body = ReformerBody(SETTINGS)
    embedded, mask = torch.randn(2, POSITIONS, WIDTH), masks([POSITIONS, 4])
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(body(embedded, mask))
    assert torch.equal(*results)


def test_training_takes_any_length_up_to_the_positions():
    body = ReformerBody(SETTINGS)
    for steps in range(1, POSITIONS + 1):
        result = body(torch.randn(2, steps, WIDTH), masks([steps, 1], steps))
        assert result.shape == (2, steps, WIDTH)


def test_gradients_reach_every_parameter():
    body = ReformerBody(SETTINGS)
    (body(torch.randn(3, POSITIONS, WIDTH), masks([POSITIONS, 6, 2])) ** 3).sum().backward()
    for name, parameter in body.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


def test_dropout_acts_in_training_alone():
    body = ReformerBody(SETTINGS)
    embedded, mask = torch.randn(2, POSITIONS, WIDTH), masks([POSITIONS, 5])
    assert not torch.equal(body(embedded, mask), body(embedded, mask))
    body.eval()
    assert torch.equal(body(embedded, mask), body(embedded, mask))

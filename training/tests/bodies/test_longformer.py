import dataclasses

import pytest
import torch
from transformers import LongformerConfig, LongformerModel

from nextitem_training.bodies.longformer import WIDEST_WINDOW, LongformerBody
from training.tests.support import small_bodies
from training.tests.support.small_bodies import WIDTH, small_settings

POSITIONS = 11
SETTINGS = small_settings(POSITIONS, "bidirectional")
TABLE = "embeddings.position_embeddings.weight"


def masks(lengths, steps=POSITIONS):
    return small_bodies.masks(lengths, steps)


def theirs(settings, window):
    """Hugging Face's own, which pads to a multiple of its window and so needs a longer table of positions."""
    torch.manual_seed(0)
    config = LongformerConfig(
        hidden_size=WIDTH,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.num_attention_heads,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=64,
        attention_window=window,
        layer_norm_eps=settings.layer_norm_eps,
        initializer_range=settings.initializer_range,
        pad_token_id=0,
        vocab_size=1,
    )
    model = LongformerModel(config, add_pooling_layer=False).eval()
    for parameter in model.parameters():  # biases and LayerNorms do not start at what they end at
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def ours(model, settings, window):
    body = LongformerBody(settings, window).eval()
    weights = {**model.state_dict(), TABLE: model.state_dict()[TABLE][: POSITIONS + 1]}
    body.encoder.load_state_dict(weights)
    return body


@pytest.mark.parametrize("window", [4, 6, 20])  # theirs cannot cope with 2
def test_real_steps_are_those_of_hugging_face(window):
    model = theirs(SETTINGS, window)
    body = ours(model, SETTINGS, window)
    embedded, mask = torch.randn(4, POSITIONS, WIDTH), masks([POSITIONS, 7, 1, 4])
    with torch.no_grad():
        expected = model(inputs_embeds=embedded, attention_mask=mask.float()).last_hidden_state
        torch.testing.assert_close(body(embedded, mask)[mask], expected[mask], atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [4, 20])
def test_a_causal_step_is_the_last_of_a_session_that_ends_there(window):
    single = dataclasses.replace(
        SETTINGS, layers=1, attention="causal"
    )  # of two layers, the first would have seen more
    model = theirs(single, window)
    embedded, mask = torch.randn(1, POSITIONS, WIDTH), masks([POSITIONS])
    with torch.no_grad():
        found = ours(model, single, window)(embedded, mask)
        for step in range(POSITIONS):
            expected = model(inputs_embeds=embedded[:, : step + 1]).last_hidden_state[:, step]
            torch.testing.assert_close(found[:, step], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("causal", "reached"), [(False, range(3, 8)), (True, range(5, 8))])
def test_one_layer_reaches_half_the_window_to_either_side(causal, reached):
    body = LongformerBody(
        dataclasses.replace(SETTINGS, layers=1, attention="causal" if causal else "bidirectional"), 4
    ).eval()
    embedded, mask = torch.randn(1, POSITIONS, WIDTH), masks([POSITIONS])
    changed = embedded.clone()
    changed[0, 5] = torch.randn(WIDTH)
    with torch.no_grad():
        moved = (body(embedded, mask) - body(changed, mask)).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == list(reached)


def test_the_window_covers_all_positions_up_to_the_widest():
    for positions, window in ((1, 2), (2, 2), (21, 40), (257, WIDEST_WINDOW), (400, WIDEST_WINDOW)):
        body = LongformerBody(dataclasses.replace(SETTINGS, layers=1, positions=positions))
        assert body.encoder.config.attention_window == [window]


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_reach_every_parameter(causal):
    body = LongformerBody(dataclasses.replace(SETTINGS, attention="causal" if causal else "bidirectional"))
    (body(torch.randn(3, POSITIONS, WIDTH), masks([POSITIONS, 6, 2])) ** 3).sum().backward()
    for name, parameter in body.named_parameters():
        if not name.endswith("key.bias"):  # it adds the same to all scores of a step, whose shares do not change
            assert parameter.grad.abs().max() > 1e-6, name


def test_dropout_acts_in_training_alone_and_on_the_attention_too():
    body = LongformerBody(SETTINGS)
    embedded, mask = torch.randn(2, POSITIONS, WIDTH), masks([POSITIONS, 5])
    assert not torch.equal(body(embedded, mask), body(embedded, mask))
    for module in body.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert not torch.equal(body(embedded, mask), body(embedded, mask))
    body.eval()
    assert torch.equal(body(embedded, mask), body(embedded, mask))

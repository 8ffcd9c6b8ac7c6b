import pytest
import torch

from nextitem_training.bodies.transformer_xl import TransformerXlBody, at_their_keys
from training.tests.support import small_bodies
from training.tests.support.small_bodies import WIDTH, small_settings

POSITIONS = 9
SETTINGS = small_settings(POSITIONS, "causal")


def masks(lengths, steps=POSITIONS):
    return small_bodies.masks(lengths, steps)


@pytest.fixture
def theirs(monkeypatch):
    """Hugging Face's own, the one broken call of its forward mended."""
    module = pytest.importorskip("transformers.models.deprecated.transfo_xl", reason="transformers 5 has none")

    def type_as(self, other=None, *, dtype=None):
        return self.to(other.dtype if dtype is None else dtype)

    monkeypatch.setattr(torch.Tensor, "type_as", type_as)
    torch.manual_seed(0)
    config = module.TransfoXLConfig(
        vocab_size=1,
        cutoffs=[],
        div_val=1,
        d_model=WIDTH,
        d_embed=WIDTH,
        n_head=SETTINGS.num_attention_heads,
        d_head=WIDTH // SETTINGS.num_attention_heads,
        d_inner=4 * WIDTH,
        n_layer=SETTINGS.layers,
        mem_len=0,
        same_length=False,
        dropout=0.0,
        init_std=SETTINGS.initializer_range,
        layer_norm_epsilon=SETTINGS.layer_norm_eps,
    )
    return module.TransfoXLModel(config).eval()


def test_real_steps_are_those_of_hugging_face(theirs):
    ours = TransformerXlBody(SETTINGS).eval()
    missing, unread = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith(("word_emb.", "pos_emb.")) for name in unread)
    for steps in (1, 2, POSITIONS):
        embedded, mask = torch.randn(3, steps, WIDTH), masks([steps, 1, (steps + 1) // 2], steps)
        with torch.no_grad():
            expected = theirs(inputs_embeds=embedded).last_hidden_state  # without a mask: no step sees later padding
            torch.testing.assert_close(ours(embedded, mask)[mask], expected[mask], atol=1e-5, rtol=0)


def test_scores_by_distance_arrive_at_their_keys():
    step, distance = torch.meshgrid(torch.arange(5), torch.arange(4, -1, -1), indexing="ij")
    found = at_their_keys((10 * step + distance).expand(2, 3, 5, 5).float())
    for i in range(5):
        for j in range(i + 1):
            assert (found[:, :, i, j] == 10 * i + (i - j)).all()


def test_order_counts_and_the_place_in_the_window_does_not():
    body = TransformerXlBody(SETTINGS).eval()
    embedded, mask = torch.randn(1, 4, WIDTH), masks([4], 4)
    with torch.no_grad():
        last = body(embedded, mask)[:, -1]
        assert (body(embedded[:, [1, 0, 2, 3]], mask)[:, -1] - last).abs().max() > 1e-3
        longer = torch.cat([torch.randn(1, 3, WIDTH), embedded], dim=1)
        hidden_start = torch.arange(7)[None, :] >= 3
        torch.testing.assert_close(body(longer, hidden_start)[:, -1], last, atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter():
    body = TransformerXlBody(SETTINGS)
    (body(torch.randn(3, POSITIONS, WIDTH), masks([POSITIONS, 6, 2])) ** 3).sum().backward()
    for name, parameter in body.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


def test_dropout_acts_in_training_alone():
    body = TransformerXlBody(SETTINGS)
    embedded, mask = torch.randn(2, POSITIONS, WIDTH), masks([POSITIONS, 5])
    assert not torch.equal(body(embedded, mask), body(embedded, mask))
    body.eval()
    assert torch.equal(body(embedded, mask), body(embedded, mask))


def test_weights_start_as_the_settings_say():
    torch.manual_seed(0)
    for name, parameter in TransformerXlBody(SETTINGS).named_parameters():
        if "layer_norm" in name:
            assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all(), name
        elif parameter.dim() == 1:
            assert (parameter == 0.0).all(), name
        else:
            assert 0.1 < parameter.std() < 0.3, name

import functools
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import ConvBertModel

from nextitem_training.bodies import BODIES, BodySettings, BodySpec, check_combination
from nextitem_training.errors import ConfigError
from nextitem_training.pretraining import OBJECTIVES
from training.tests.support import small_bodies

COMBINATIONS = [(body, attention) for body in BODIES for attention in BODIES.get(body).attention]
POSITIONS = 6
WIDTH = 16
SIZES = ((1, 1), (1, POSITIONS), (3, POSITIONS), (64, 4))
GARBAGE = (1.0, -50.0, 1e4, -1e30, float("inf"), float("nan"))
# XLNet's second stream, which nothing here asks for, and its segments, of which there is one.
UNUSED = {"xlnet": ("mask_emb", "r_s_bias", "seg_embed")}
# A single segment adds the same to all attention scores, so that nothing depends on it.
WITHOUT_EFFECT = {"funnel": ("r_s_bias", "seg_embed")}


def test_every_registered_body_is_described_with_its_paper():
    page = Path(__file__).parents[3] / "docs" / "bodies.md"
    described = re.findall(r"^\| `(\w+)` \| \w", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(BODIES) <= set(described)


@functools.cache
def built(name, attention, heads=2):
    torch.manual_seed(0)
    module = BODIES.get(name).build(
        BodySettings(
            d_model=WIDTH,
            layers=2,
            num_attention_heads=heads,
            positions=POSITIONS,
            dropout=0.1,
            layer_norm_eps=1e-6,
            initializer_range=0.5,
            attention=attention,
        )
    )
    return module.eval()


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def body(request):
    return built(*request.param), request.param[1] == "causal"


@pytest.fixture(scope="module", params=[small_bodies.long_for_others(*both) for both in COMBINATIONS])
def body_at_length(request):
    """A body for tests that take long."""
    return built(*request.param)


def masks(lengths, steps=POSITIONS):
    return small_bodies.masks(lengths, steps)


def mixed(rows, steps):
    """Sessions of all lengths, those without any interaction among them, and their mask."""
    return torch.randn(rows, steps, WIDTH), masks([(row + 1) % (steps + 1) for row in range(rows)], steps)


def check_padding_and_neighbours(module, embedded, lengths, garbage):
    """Compares each session among neighbours and padding with the same session alone."""
    mask = masks(lengths)
    with torch.no_grad():
        together = module(torch.where(mask[..., None], embedded, torch.tensor(garbage)), mask)
        assert torch.isfinite(together).all()
        for row, length in enumerate(lengths):
            if length:
                alone = module(embedded[row : row + 1, :length], mask[row : row + 1, :length])
                torch.testing.assert_close(together[row, :length], alone[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("garbage", GARBAGE)
def test_padding_and_neighbours_change_nothing(body, garbage):
    lengths = list(range(POSITIONS + 1))  # a row of nothing but padding is the first
    check_padding_and_neighbours(body[0], torch.randn(len(lengths), POSITIONS, WIDTH), lengths, garbage)


@given(
    lengths=st.lists(st.integers(0, POSITIONS), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    garbage=st.sampled_from((0.0, *GARBAGE)),
)
def test_no_batch_is_found_in_which_padding_or_neighbours_matter(body_at_length, lengths, seed, garbage):
    random = torch.Generator().manual_seed(seed)
    embedded = torch.randn(len(lengths), POSITIONS, WIDTH, generator=random)
    check_padding_and_neighbours(body_at_length, embedded, lengths, garbage)


def test_a_causal_body_sees_the_past_alone_and_another_both_sides(body):
    module, causal = body
    embedded = torch.randn(1, POSITIONS, WIDTH)
    changed = embedded.clone()
    changed[0, 3] = torch.randn(WIDTH)
    mask = masks([POSITIONS])
    with torch.no_grad():
        moved = (module(embedded, mask) - module(changed, mask)).abs().amax(-1)[0] > 1e-6
    assert moved[3:].all()
    assert moved[:3].any() != causal


def test_the_order_of_interactions_matters(body):
    embedded = torch.randn(1, POSITIONS, WIDTH)
    swapped = embedded[:, [1, 0, *range(2, POSITIONS)]]
    mask = masks([POSITIONS])
    with torch.no_grad():
        difference = body[0](embedded, mask)[0, -1] - body[0](swapped, mask)[0, -1]
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize(("name", "attention"), COMBINATIONS)
def test_every_parameter_is_trained(name, attention):
    module = built.__wrapped__(name, attention).train()
    embedded, mask = mixed(8, POSITIONS)
    weights = torch.randn(WIDTH)  # as a plain sum behind a layer norm is constant
    (module(embedded, mask)[mask] @ weights).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        last = parameter_name.rsplit(".")[-1]
        if parameter.requires_grad and last not in UNUSED.get(name, ()):
            assert parameter.grad is not None, parameter_name
            # A key's bias moves all attention scores alike and so has no gradient.
            if parameter.ndim > 1 and last not in WITHOUT_EFFECT.get(name, ()):
                assert parameter.grad.abs().max() > 1e-6, parameter_name


def test_a_trace_is_exact_at_other_sizes(body_at_length):
    module = body_at_length
    with torch.no_grad():
        example = torch.randn(2, 5, WIDTH), masks([2, 5], 5)
        traced = torch.jit.trace(module, example, check_trace=False)
        for rows, steps in SIZES:
            embedded, mask = mixed(rows, steps)
            torch.testing.assert_close(traced(embedded, mask), module(embedded, mask), atol=5e-5, rtol=1e-4)


def test_onnx_is_exact_at_other_sizes(body_at_length, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    module = body_at_length
    axes = {"embedded": {0: "B", 1: "S"}, "mask": {0: "B", 1: "S"}, "hidden": {0: "B", 1: "S"}}
    with torch.no_grad():
        torch.onnx.export(
            module,
            (torch.randn(2, 5, WIDTH), masks([2, 5], 5)),
            tmp_path / "body.onnx",
            input_names=["embedded", "mask"],
            output_names=["hidden"],
            dynamic_axes=axes,
            opset_version=17,
            do_constant_folding=False,
            dynamo=False,
        )
        session = onnxruntime.InferenceSession(tmp_path / "body.onnx")
        for rows, steps in SIZES:
            embedded, mask = mixed(rows, steps)
            given = {"embedded": embedded.numpy(), "mask": mask.numpy()}
            found = torch.from_numpy(session.run(None, given)[0])
            expected = module(embedded, mask)
            # What a padded step holds is nobody's business, as long as it is finite.
            torch.testing.assert_close(found[mask], expected[mask], atol=5e-5, rtol=1e-4)
            assert torch.isfinite(found).all()


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_convbert_is_hugging_faces_where_nothing_is_padded(heads):
    ours = built("convbert", "bidirectional", heads)
    theirs = ConvBertModel(ours.encoder.config).eval()
    theirs.set_input_embeddings(None)
    theirs.load_state_dict(ours.encoder.state_dict())
    embedded = torch.randn(3, POSITIONS, WIDTH)
    with torch.no_grad():
        expected = theirs(inputs_embeds=embedded).last_hidden_state
        torch.testing.assert_close(ours(embedded, masks([POSITIONS] * 3)), expected, atol=2e-5, rtol=1e-4)


def test_convbert_refuses_a_width_that_half_of_its_heads_do_not_divide():
    with pytest.raises(ConfigError, match=r"7 heads leave 3, and d_model, here 16, has to be a multiple of 6"):
        built("convbert", "bidirectional", heads=7)


def test_distilbert_takes_the_epsilon_that_its_configuration_has_no_name_for():
    norms = [m for m in built("distilbert", "bidirectional").modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 5
    assert {norm.eps for norm in norms} == {1e-6}


def test_a_permutation_bodys_query_depends_on_what_it_may_see_alone():
    random = torch.Generator().manual_seed(3)
    order = torch.rand(POSITIONS, generator=random)
    visible = order[None, :] < order[:, None]  # (S, S), the first in the order sees nothing
    for name in BODIES:
        if "permutation" not in BODIES.get(name).attention:
            continue
        module = built(name, "permutation")
        embedded = torch.randn(1, POSITIONS, WIDTH, generator=random, requires_grad=True)
        weights = torch.randn(WIDTH, generator=random)  # as a plain sum behind a layer norm is constant
        hidden = module(embedded, masks([POSITIONS]), visible[None])[0]
        for step in range(POSITIONS):
            if visible[step].any():
                (gradient,) = torch.autograd.grad(hidden[step] @ weights, embedded, retain_graph=True)
                assert torch.equal(gradient[0].abs().amax(-1) > 1e-6, visible[step]), step


def test_a_query_that_sees_nothing_takes_nothing_from_padding():
    module = built("xlnet", "permutation")
    with torch.no_grad():
        first, second = (module(torch.randn(1, POSITIONS, WIDTH), masks([0])) for _ in range(2))
    assert torch.equal(first, second)


def test_a_combination_that_makes_no_sense_is_refused_with_those_that_do():
    expected = (
        "The body 'gpt2' cannot be trained with 'mlm', which needs bidirectional attention. "
        "It takes clm; 'mlm' goes with albert, bert, "
    )
    with pytest.raises(ConfigError, match=f"^{expected}"):
        check_combination("gpt2", "mlm")
    with pytest.raises(ConfigError, match=r"'plm', which needs permutation attention.*goes with xlnet"):
        check_combination("bert", "plm")
    with pytest.raises(ConfigError, match=r"no body 'gtp2'. Did you mean 'gpt2'"):
        check_combination("gtp2", "clm")
    with pytest.raises(ConfigError, match=r"no pre-training objective 'clam'. Did you mean 'clm'"):
        check_combination("gpt2", "clam")


def test_what_fits_follows_from_the_kinds_of_attention():
    assert BODIES.get("xlnet").objectives == tuple(OBJECTIVES)
    assert BODIES.get("gpt2").objectives == ("clm",)
    with pytest.raises(ValueError, match="no attention 'both'; a body's are of bidirectional, causal, permutation"):
        BodySpec(built, attention=("both",))

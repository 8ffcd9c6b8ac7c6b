import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nextitem_training.bodies import BODIES, BodySettings, BodySpec, check_combination
from nextitem_training.errors import ConfigError
from nextitem_training.pretraining import APPROACHES

# A new body is added here, and every test below then runs for it.
TESTED = ("bert", "gpt2", "xlnet")
COMBINATIONS = [(body, attention) for body in TESTED for attention in BODIES.get(body).attention]
POSITIONS = 6
WIDTH = 16


def test_every_registered_body_is_tested():
    assert list(BODIES) == sorted(TESTED)


def built(name, attention):
    torch.manual_seed(0)
    settings = BodySettings(
        d_model=WIDTH,
        layers=2,
        heads=2,
        positions=POSITIONS,
        dropout=0.1,
        layer_norm_eps=1e-6,
        initializer_range=0.5,
        attention=attention,
    )
    return BODIES.get(name).build(settings).eval()


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def body(request):
    name, attention = request.param
    return built(name, attention), attention == "causal"


def masks(lengths, steps=POSITIONS):
    return torch.arange(steps)[None, :] < torch.tensor(lengths)[:, None]


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, POSITIONS), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    garbage=st.sampled_from([0.0, 1.0, -50.0]),
)
def test_padding_and_neighbours_change_nothing(body, lengths, seed, garbage):
    module, _ = body
    random = torch.Generator().manual_seed(seed)
    embedded = torch.randn(len(lengths), POSITIONS, WIDTH, generator=random)
    mask = masks(lengths)
    filled = torch.where(mask[..., None], embedded, torch.tensor(garbage))
    with torch.no_grad():
        together = module(filled, mask)
        for row, length in enumerate(lengths):
            alone = module(embedded[row : row + 1, :length], mask[row : row + 1, :length])
            torch.testing.assert_close(together[row, :length], alone[0], atol=2e-5, rtol=1e-4)


def test_a_row_of_padding_stays_finite(body):
    with torch.no_grad():
        result = body[0](torch.randn(2, POSITIONS, WIDTH), masks([0, 3]))
    assert torch.isfinite(result).all()


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


def test_a_trace_is_exact_at_other_sizes(body):
    module, _ = body
    with torch.no_grad():
        mask = masks([2, 5], 5)
        traced = torch.jit.trace(module, (torch.randn(2, 5, WIDTH), mask), check_trace=False)
        for rows, steps in ((1, 1), (3, POSITIONS), (64, 4)):
            embedded = torch.randn(rows, steps, WIDTH)
            mask = masks([1 + row % steps for row in range(rows)], steps)
            expected = module(embedded, mask)
            torch.testing.assert_close(traced(embedded, mask), expected, atol=5e-5, rtol=1e-4)


def test_onnx_is_exact_at_other_sizes(body, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    module, _ = body
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
        for rows, steps in ((1, 1), (3, POSITIONS)):
            embedded, mask = torch.randn(rows, steps, WIDTH), masks([1] * rows, steps)
            given = {"embedded": embedded.numpy(), "mask": mask.numpy()}
            found = torch.from_numpy(session.run(None, given)[0])
            torch.testing.assert_close(found, module(embedded, mask), atol=5e-5, rtol=1e-4)


def test_a_permutation_bodys_query_depends_on_what_it_may_see_alone():
    random = torch.Generator().manual_seed(3)
    order = torch.rand(POSITIONS, generator=random)
    visible = order[None, :] < order[:, None]  # (S, S), the first in the order sees nothing
    for name in BODIES:
        if "permutation" not in BODIES.get(name).attention:
            continue
        module = built(name, "permutation")
        embedded = torch.randn(1, POSITIONS, WIDTH, requires_grad=True)
        hidden = module(embedded, masks([POSITIONS]), visible[None])[0]
        for step in range(POSITIONS):
            if visible[step].any():
                (gradient,) = torch.autograd.grad(hidden[step].square().sum(), embedded, retain_graph=True)
                assert torch.equal(gradient[0].abs().amax(-1) > 1e-8, visible[step]), step


def test_a_query_that_sees_nothing_takes_nothing_from_padding():
    module = built("xlnet", "permutation")
    with torch.no_grad():
        first, second = (module(torch.randn(1, POSITIONS, WIDTH), masks([0])) for _ in range(2))
    assert torch.equal(first, second)


def test_a_combination_that_makes_no_sense_is_refused_with_those_that_do():
    expected = (
        "The body 'gpt2' cannot be trained with 'mlm', which needs bidirectional attention. "
        "It takes clm; 'mlm' goes with bert, xlnet."
    )
    with pytest.raises(ConfigError, match=f"^{expected}$"):
        check_combination("gpt2", "mlm")
    with pytest.raises(ConfigError, match=r"'plm', which needs permutation attention.*goes with xlnet"):
        check_combination("bert", "plm")
    with pytest.raises(ConfigError, match=r"no body 'gtp2'. Did you mean 'gpt2'"):
        check_combination("gtp2", "clm")
    with pytest.raises(ConfigError, match=r"no pre-training approach 'clam'. Did you mean 'clm'"):
        check_combination("gpt2", "clam")


def test_what_fits_follows_from_the_kinds_of_attention():
    assert BODIES.get("xlnet").approaches == tuple(APPROACHES)
    assert BODIES.get("gpt2").approaches == ("clm",)
    with pytest.raises(ValueError, match="no attention 'both'; a body's are of bidirectional, causal, permutation"):
        BodySpec(built, attention=("both",))

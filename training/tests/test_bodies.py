import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nextitem_training.bodies import BODIES, BodySettings, check_combination
from nextitem_training.errors import ConfigError

# A new body is added here, and every test below then runs for it.
TESTED = ("bert", "gpt2", "longformer", "reformer", "transformer_xl", "xlnet")
CAUSAL = {"clm": True, "mlm": False}
COMBINATIONS = [(body, name) for body in TESTED for name in BODIES.get(body).approaches]
POSITIONS = 6
WIDTH = 16


def test_every_registered_body_is_tested():
    assert list(BODIES) == sorted(TESTED)


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def body(request):
    name, approach = request.param
    torch.manual_seed(0)
    built = BODIES.get(name).build(
        BodySettings(
            d_model=WIDTH,
            layers=2,
            heads=2,
            positions=POSITIONS,
            dropout=0.1,
            layer_norm_eps=1e-6,
            initializer_range=0.5,
            causal=CAUSAL[approach],
        )
    )
    return built.eval(), CAUSAL[approach]


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


def test_a_combination_that_makes_no_sense_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match=r"'gpt2' cannot be trained with 'mlm'. It takes clm"):
        check_combination("gpt2", "mlm")
    with pytest.raises(ConfigError, match=r"'mlm' goes with .*bert, .*xlnet"):
        check_combination("gpt2", "mlm")
    with pytest.raises(ConfigError, match=r"no body 'gtp2'. Did you mean 'gpt2'"):
        check_combination("gtp2", "clm")

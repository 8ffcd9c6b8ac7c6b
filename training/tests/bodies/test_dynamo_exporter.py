"""The bodies whose forward is written here, through PyTorch's newer ONNX exporter, which the product does not use yet."""

import pytest
import torch

from nextitem_training.bodies import BODIES, BodySettings
from training.tests.support.small_bodies import masks

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

POSITIONS = 6
WIDTH = 16
SETTINGS = {
    "d_model": WIDTH,
    "layers": 2,
    "num_attention_heads": 2,
    "positions": POSITIONS,
    "dropout": 0.1,
    "layer_norm_eps": 1e-6,
    "initializer_range": 0.5,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "causal"), [("longformer", True), ("longformer", False), ("reformer", False), ("transformer_xl", True)]
)
def test_the_graph_is_exact_at_other_sizes(name, causal, tmp_path):
    torch.manual_seed(0)
    body = BODIES.get(name).build(BodySettings(**SETTINGS, attention="causal" if causal else "bidirectional")).eval()
    axes = {0: torch.export.Dim("B", min=1, max=4096), 1: torch.export.Dim("S", min=1, max=POSITIONS)}
    with torch.no_grad():
        torch.onnx.export(
            body,
            (torch.randn(2, 5, WIDTH), masks([2, 5], 5)),
            tmp_path / "body.onnx",
            input_names=["embedded", "mask"],
            output_names=["hidden"],
            dynamic_shapes=(axes, axes),
            dynamo=True,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(tmp_path / "body.onnx")
        for rows, steps in ((1, 1), (3, POSITIONS), (64, 4)):
            embedded, mask = torch.randn(rows, steps, WIDTH), masks([row % (steps + 1) for row in range(rows)], steps)
            found = session.run(None, {"embedded": embedded.numpy(), "mask": mask.numpy()})[0]
            torch.testing.assert_close(torch.from_numpy(found), body(embedded, mask), atol=5e-5, rtol=1e-4)

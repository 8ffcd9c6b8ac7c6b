"""Traces the session model to ONNX nodes: from the features to the query or, without one, to the scores, and its heads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from ..workflow.graph_builder import DYNAMO_OPSET, OPSET
from .module import Retrieval
from .session_graph import SessionGraph
from .tensors import head_tensors


class _Session(nn.Module):
    def __init__(self, retrieval: Retrieval) -> None:
        super().__init__()
        self.scorer = retrieval.scorer
        self.names = retrieval.names

    def forward(self, *encoded: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result, heads = self.scorer.result(dict(zip(self.names, encoded, strict=True)))
        return result.float(), *heads


def _results(retrieval: Retrieval) -> list[str]:
    """The names of what `_Session` gives."""
    return ["session", *(f"session_{tensor}" for tensor in head_tensors(retrieval.heads))]


def trace_session(retrieval: Retrieval, names: Sequence[str], example: tuple[torch.Tensor, ...]) -> SessionGraph:
    """By torch's older exporter. example: the features, named `names`."""
    model, weights = trace_nodes(_Session(retrieval).eval(), names, _results(retrieval), example)
    return _graph(model, names, example, weights)


def trace_nodes(
    module: nn.Module,
    names: Sequence[str],
    results: Sequence[str],
    example: tuple[torch.Tensor, ...],
    opset: int = OPSET,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A module in eval mode by torch's older exporter, and its weights by name. results: the names of what it gives."""
    # It takes TorchScript only where the whole module is, and calls its weights by other names then.
    script = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "session.onnx")
        torch.onnx.export(
            cast("Any", torch.jit.trace(module, example, check_trace=False)) if script else module,
            example,
            path,
            input_names=list(names),
            output_names=list(results),
            dynamic_axes={name: {0: "B"} for name in (*names, *results)},
            opset_version=opset,
            do_constant_folding=False,
            export_params=script,  # else they stay out of the protobuf, which ends at 2 GB, and are named instead
            dynamo=False,
        )
        model = onnx.load(path)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    tensors = dict(module.state_dict(keep_vars=True))
    for value in model.graph.input:
        if value.name not in names:
            weights[value.name] = tensors[value.name].detach().numpy()
    return model, weights


def trace_session_dynamo(retrieval: Retrieval, names: Sequence[str], example: tuple[torch.Tensor, ...]) -> SessionGraph:
    """The second route, by torch.export: slower, and stricter about what a model's forward does."""
    axes: list[dict[int, Any]] = [{0: torch.export.Dim.DYNAMIC} for _ in names]
    program = torch.onnx.export(
        _Session(retrieval).eval(),
        example,
        input_names=list(names),
        output_names=_results(retrieval),
        dynamic_shapes=(tuple(axes),),
        opset_version=DYNAMO_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    # Stack traces, with the paths of this machine: a third of the file.
    ClearMetadataAndDocStringPass()(program.model)
    weights = {
        name: np.array(value.const_value.numpy())
        for name, value in program.model.graph.initializers.items()
        if value.const_value is not None
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "session.onnx"
        program.save(str(path), external_data=True)
        model = onnx.load(str(path), load_external_data=False)
    return _graph(model, names, example, weights)


def _graph(
    model: onnx.ModelProto,
    names: Sequence[str],
    example: tuple[torch.Tensor, ...],
    weights: dict[str, np.ndarray],
) -> SessionGraph:
    (opset,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return SessionGraph(
        inputs=graph_inputs(names, example),
        nodes=list(model.graph.node),
        weights=weights,
        result=model.graph.output[0].name,
        heads=tuple(output.name for output in model.graph.output[1:]),
        table=None,
        opset=opset,
        ir_version=model.ir_version,
    )


def graph_inputs(names: Sequence[str], example: tuple[torch.Tensor, ...]) -> list[onnx.ValueInfoProto]:
    """The features [B, T] as a graph's inputs. Not as an exporter declares them: it leaves out what the model does not read."""
    return [_input(name, values) for name, values in zip(names, example, strict=True)]


def _input(name: str, example: torch.Tensor) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(example.numpy().dtype)
    return helper.make_tensor_value_info(name, kind, ["B", *example.shape[1:]])

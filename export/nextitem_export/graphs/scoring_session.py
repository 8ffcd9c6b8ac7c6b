"""The session model as ONNX nodes: from the features to the query or, for a model without one, to the scores, and its heads."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from .heads import head_tensors
from .retrieval import Retrieval
from .scoring_shared import share_table
from .versions import DYNAMO_OPSET, OPSET


@dataclasses.dataclass(frozen=True)
class SessionGraph:
    """What an exporter made of a session model.

    inputs: the features, each [B, T]. result: the tensor with the query float32 [B, D] or the scores float32 [B, V]. heads:
    the tensors of the further heads, float32 [B, N] each. weights: by name. table: the name of the weight that is the item
    table as well, None where there is none.
    """

    inputs: list[onnx.ValueInfoProto]
    nodes: list[onnx.NodeProto]
    weights: dict[str, np.ndarray]
    result: str
    heads: tuple[str, ...]
    table: str | None
    opset: int
    ir_version: int


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
    session = _Session(retrieval).eval()
    # Weights stay out of the protobuf, which ends at 2 GB, and are named instead.
    written = io.BytesIO()
    torch.onnx.export(
        session,
        example,
        written,
        input_names=list(names),
        output_names=_results(retrieval),
        dynamic_axes={name: {0: "B"} for name in (*names, *_results(retrieval))},
        opset_version=OPSET,
        do_constant_folding=False,
        export_params=False,
        dynamo=False,
    )
    model = onnx.load_from_string(written.getvalue())
    tensors = dict(session.state_dict(keep_vars=True))
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in names:
            weights[value.name] = tensors[value.name].detach().numpy()
    return _graph(model, names, example, weights, retrieval)


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
    return _graph(model, names, example, weights, retrieval)


def _graph(
    model: onnx.ModelProto,
    names: Sequence[str],
    example: tuple[torch.Tensor, ...],
    weights: dict[str, np.ndarray],
    retrieval: Retrieval,
) -> SessionGraph:
    (opset,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    session = SessionGraph(
        # Not as the exporter declares them: it leaves out what the model does not read.
        inputs=[_input(name, values) for name, values in zip(names, example, strict=True)],
        nodes=list(model.graph.node),
        weights=weights,
        result=model.graph.output[0].name,
        heads=tuple(output.name for output in model.graph.output[1:]),
        table=_table_among(weights, retrieval),
        opset=opset,
        ir_version=model.ir_version,
    )
    table = retrieval.table()
    return session if table is None else share_table(session, table.numpy())


def _table_among(weights: dict[str, np.ndarray], retrieval: Retrieval) -> str | None:
    table = retrieval.table()
    if table is None:
        return None
    same = (
        name
        for name, values in weights.items()
        if values.shape == tuple(table.shape) and values.dtype == np.float32 and np.array_equal(values, table.numpy())
    )
    return next(same, None)


def _input(name: str, example: torch.Tensor) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(example.numpy().dtype)
    return helper.make_tensor_value_info(name, kind, ["B", *example.shape[1:]])

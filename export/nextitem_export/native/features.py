"""The features step as one ONNX graph: raw request tensors in, encoded sequences and filters out."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from nextitem_bundle.runtime.features import TOP_K
from nextitem_bundle.runtime.signature import Signature

from ..workflow.compile import CompiledWorkflow
from ..workflow.emit_onnx import emit_program
from .builder import NativeBuilder
from .filters import encode_filters
from .request import check_request


def native_features(
    compiled: CompiledWorkflow, signature: Signature, filters: tuple[str, str], values: np.ndarray
) -> onnx.ModelProto:
    """A graph that takes a request as README.md describes it and gives what the Python runtime's features step gives.

    compiled: a workflow that is served as ONNX. filters: the names of the outputs with the codes excluded and allowed.
    values: raw ids [V - 3] by code from 3, int64 or object array of str. Inputs all have a default: for an option what it
    means not to send it, for a feature an empty tensor that a guard refuses.
    """
    builder = NativeBuilder(compiled.program.instructions)
    checked = check_request(builder, signature, TOP_K)
    outputs = emit_program(builder, compiled.program, compiled.window)
    encode_filters(builder, checked, signature, values, filters)
    outputs += [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", f"P_{name}"]) for name in filters]
    outputs.append(helper.make_tensor_value_info(checked.top_k, TensorProto.INT64, [1]))
    return builder.model(outputs)

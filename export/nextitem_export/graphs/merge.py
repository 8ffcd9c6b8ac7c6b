"""Features, ranker and items as one ONNX graph: what one of them gives and the next one takes becomes a tensor inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import compose, helper

from .items import INPUTS as ITEMS_INPUTS
from .ranker import OUTPUTS


def can_merge(models: Sequence[onnx.ModelProto]) -> bool:
    """Whether the graphs speak the same opset of each domain; torch's newer exporter writes a later one than ours."""
    versions: dict[str, set[int]] = {}
    for model in models:
        for opset in model.opset_import:
            versions.setdefault(opset.domain, set()).add(opset.version)
    return all(len(found) == 1 for found in versions.values())


def merge(features: onnx.ModelProto, ranker: onnx.ModelProto, items: onnx.ModelProto) -> onnx.ModelProto:
    """One model of the three, which must agree in their opsets.

    Inputs are those of the features graph, then what the ranker and the items graph take from nobody else (the filters, the
    ranker's constants, `top_k_checked`); outputs are those of the items graph. External data stays where it is.
    """
    parts = [
        _apart(model, prefix) for model, prefix in ((features, "features/"), (ranker, "ranker/"), (items, "items/"))
    ]
    given = {tensor.name for tensor in parts[0].output}
    passed = [(tensor.name, tensor.name) for tensor in parts[1].input if tensor.name in given]
    ranked = compose.merge_graphs(parts[0], parts[1], io_map=passed)
    graph = compose.merge_graphs(ranked, parts[2], io_map=list(zip(OUTPUTS, ITEMS_INPUTS[:3], strict=True)))
    graph.name = "session_to_items"
    opsets = {opset.domain: opset.version for model in (features, ranker, items) for opset in model.opset_import}
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    )
    model.ir_version = max(part.ir_version for part in (features, ranker, items))
    model.functions.extend(function for part in (features, ranker, items) for function in part.functions)
    return model


def open_graph(folder: Path) -> onnx.ModelProto:
    """`model.onnx` of a step's folder, its external data left on disk."""
    return onnx.load(str(folder / "model.onnx"), load_external_data=False)


def _apart(model: onnx.ModelProto, prefix: str) -> onnx.GraphProto:
    """The graph with names that no other graph has; inputs and outputs keep theirs."""
    return compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False, rename_functions=False).graph

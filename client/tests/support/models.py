"""Hand-made models for a real Triton, which answer with what they received.

The model `echo` (served under several names) puts into each row's status a JSON text of that row's
tensors, bit for bit, and recommends the session's own items, newest first, and then `MORE`, as the
filters allow.
"""

from __future__ import annotations

import json
from pathlib import Path

from nextitem_bundle.signature import FORMAT_VERSION

INT64_MIN = -(2**63)
EVENT = {"item_id": "a", "timestamp": 5, "category": 7, "is_new": True, "price": 1.5}

OPTIONS = ("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen")
FEATURES = [
    {"name": "item_id", "datatype": "BYTES", "kind": "string"},
    {"name": "timestamp", "datatype": "INT64", "kind": "datetime"},
    {"name": "category", "datatype": "INT64", "kind": "integer"},
    {"name": "is_new", "datatype": "INT64", "kind": "boolean"},
    {"name": "price", "datatype": "FP32", "kind": "float"},
]
SIGNATURE = {
    "format_version": FORMAT_VERSION,
    "bundle_version": 7,
    "window": 20,
    "max_sessions_per_request": 4,
    "max_interactions_per_session": 50,
    "max_id_bytes": 32,
    "max_filter_ids": 8,
    "top_k": {"default": 3, "limit": 10},
    "item_column": "item_id",
    "features": FEATURES,
    "options": list(OPTIONS),
    "from_a_later_exporter": True,
}
INTEGER_ITEMS = {
    **SIGNATURE,
    "features": [{"name": "item_id", "datatype": "INT64", "kind": "integer"}],
    "options": ["session_length", "exclude_item_ids"],
    "catalogue": [{"name": "price", "datatype": "FP32", "kind": "float"}],
}
MODEL = """
import json
import time

import numpy as np
import triton_python_backend_utils as pb

BEHAVIOUR = {behaviour!r}
MORE = {more!r}
LOWEST = np.finfo(np.float32).min


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.inputs = [entry["name"] for entry in config["input"]]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        tensors = {{}}
        for name in self.inputs:
            tensor = pb.get_input_tensor_by_name(request, name)
            if tensor is not None:
                tensors[name] = tensor.as_numpy()
        k = int(tensors["top_k"][0, 0]) if "top_k" in tensors else 3
        if not 1 <= k <= 10:
            error = pb.TritonError(f"top_k is {{k}}; expected is 1 to 10")
            return pb.InferenceResponse(error=error)
        time.sleep({{"slow": 3, "late": 1}}.get(BEHAVIOUR, 0))
        items = tensors["item_id"]
        rows = len(items)
        text = items.dtype == object
        ids = np.full((rows, k), b"" if text else np.iinfo(np.int64).min, dtype=items.dtype)
        scores = np.full((rows, k), LOWEST, dtype=np.float32)
        status = np.empty((rows, 1), dtype=object)
        for row in range(rows):
            length = int(tensors["session_length"][row, 0])
            own = self.allowed(tensors, row, length)[:k]
            ids[row, : len(own)] = own
            scores[row, : len(own)] = -np.arange(len(own), dtype=np.float32) / 3
            status[row, 0] = self.echo(tensors, row).encode()
        if BEHAVIOUR == "ragged":
            scores = scores[:, :-1]
        return pb.InferenceResponse([
            pb.Tensor("item_ids", ids), pb.Tensor("scores", scores), pb.Tensor("status", status)
        ])

    def allowed(self, tensors, row, length):
        seen = tensors["item_id"][row, :length][::-1].tolist()
        found = seen + [item.encode() for item in MORE]
        if "exclude_seen" in tensors and tensors["exclude_seen"][row, 0]:
            found = [item for item in found if item not in seen]
        if "exclude_item_ids" in tensors:
            found = [item for item in found if item not in tensors["exclude_item_ids"][row]]
        if "allow_item_ids" in tensors and any(tensors["allow_item_ids"][row]):
            found = [item for item in found if item in tensors["allow_item_ids"][row]]
        return found

    def echo(self, tensors, row):
        return json.dumps({{
            name: [value.hex() for value in tensor[row]] if tensor.dtype == object
            else [str(tensor.dtype), tensor[row].tobytes().hex()]
            for name, tensor in tensors.items()
        }})
"""


def write_model(
    repository: Path,
    name: str,
    signature: "dict | str | None",
    behaviour: str = "echo",
    more: "tuple[str, ...]" = (),
) -> None:
    folder = repository / name
    (folder / "7").mkdir(parents=True)
    (folder / "7" / "model.py").write_text(MODEL.format(behaviour=behaviour, more=more))
    described = signature if isinstance(signature, dict) else SIGNATURE
    inputs = [(f["name"], f["datatype"], "-1, -1") for f in described["features"]]
    items = described["features"][0]["datatype"]
    inputs += [(option, "INT32", "-1, 1") for option in ("session_length", "top_k")]
    inputs += [(option, items, "-1, -1") for option in ("exclude_item_ids", "allow_item_ids")]
    inputs.append(("exclude_seen", "BOOL", "-1, 1"))
    types = {"BYTES": "STRING"}
    lines = [f'name: "{name}"', 'backend: "python"', "max_batch_size: 0"]
    lines += [
        f'input [ {{ name: "{i}" data_type: TYPE_{types.get(t, t)} dims: [{d}] optional: true }} ]'
        for i, t, d in inputs
    ]
    outputs = [("item_ids", items, "-1, -1"), ("scores", "FP32", "-1, -1")]
    outputs.append(("status", "BYTES", "-1, 1"))
    lines += [f'output [ {{ name: "{o}" data_type: TYPE_{types.get(t, t)} dims: [{d}] }} ]' for o, t, d in outputs]
    lines.append("instance_group [ { kind: KIND_CPU count: 1 } ]")
    if signature is not None:
        text = signature if isinstance(signature, str) else json.dumps(signature)
        quoted = json.dumps(text, ensure_ascii=False)  # protobuf's text format quotes alike
        lines.append(f'parameters {{ key: "nextitem.signature" value: {{ string_value: {quoted} }} }}')
    (folder / "config.pbtxt").write_text("\n".join(lines), encoding="utf-8")


def write_many(repository: Path) -> None:
    """Several models."""
    write_model(repository, "shop", SIGNATURE)
    write_model(repository, "numbers", INTEGER_ITEMS)
    write_model(repository, "shop_retrieval", None)
    write_model(repository, "readme", {**SIGNATURE, "features": FEATURES[:2]}, more=("C3", "D4", "E5", "F6"))
    write_model(repository, "future", {**SIGNATURE, "format_version": 99})
    write_model(repository, "damaged", '{"format_version": 1')
    write_model(repository, "slow", SIGNATURE, "slow")
    write_model(repository, "late", SIGNATURE, "late")
    write_model(repository, "ragged", SIGNATURE, "ragged")


def write_alone(repository: Path) -> None:
    """One nextitem model and a step of it."""
    write_model(repository, "shop", SIGNATURE)
    write_model(repository, "shop_retrieval", None)


EXPLICIT = ("--model-control-mode=explicit", "--load-model=*")

"""The model repositories that are served: our own bundles by nextitem-export, the floor, and Merlin Systems' way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving.checkpoint import BIN, K
from benchmarks.support.own_process import ROOT, run_quietly

NAME = "shop"
#: What a copy of a configuration does without: requests to warm up, and the version, whose files would be looked for.
_LEFT_OUT = re.compile(r"^(model_warmup|version_policy) \{.*?^\}\n", re.MULTILINE | re.DOTALL)
_NOOP_MODEL = f"""
import numpy as np
import triton_python_backend_utils as pb

ITEM_IDS = np.array([[b"sku-%010d" % number for number in range({K})]], dtype=object)
SCORES = np.linspace(1, 0, {K}, dtype=np.float32)[None]
STATUS = np.array([[b"ok"]], dtype=object)


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb.InferenceResponse(
                [pb.Tensor("item_ids", ITEM_IDS), pb.Tensor("scores", SCORES), pb.Tensor("status", STATUS)]
            )
            for _ in requests
        ]
"""
_NOOP_STEP = """
import json

import numpy as np
import triton_python_backend_utils as pb

TYPES = {"TYPE_INT64": np.int64, "TYPE_INT32": np.int32, "TYPE_FP32": np.float32, "TYPE_STRING": object}


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        batch = [1] if config["max_batch_size"] > 0 else []
        self.outputs = []
        for output in config["output"]:
            dims = batch + [int(size) for size in output["dims"]]
            shape = [1, *(WIDTH if size < 0 else size for size in dims[1:])]
            kind = TYPES[output["data_type"]]
            self.outputs.append((output["name"], np.full(shape, b"sku-0123456789" if kind is object else 1, kind)))

    def execute(self, requests):
        return [pb.InferenceResponse([pb.Tensor(*output) for output in self.outputs]) for _ in requests]
"""


def export(run: Path, folder: Path, layout: str, format_name: str, instances: int = 1) -> Path:
    """A repository with our bundle, exported where the one in `folder` is not of this exporter and run."""
    kind = f"{layout}-{format_name}-{instances}"
    key = hashlib.sha256(run.name.encode())
    for package in ("bundle", "export"):
        for file in sorted((ROOT / package / f"nextitem_{package}").rglob("*.py")):
            key.update(file.read_bytes())
    repository = folder / f"{kind}-{key.hexdigest()[:12]}"
    if not (repository / NAME / "config.pbtxt").exists():
        for outdated in folder.glob(f"{kind}-*"):
            shutil.rmtree(outdated)
        command = [BIN / "nextitem-export", "--run", run, "--repository", repository, "--name", NAME]
        command += ["--layout", layout, "--format", format_name, "--instances", str(instances)]
        run_quietly(command)
    return repository


def write_noop(folder: Path, signature: Mapping[str, Any]) -> Path:
    """The floor: a model with the request's and the answer's tensors, batched like `fused`, that looks at nothing."""
    optional = "optional: true allow_ragged_batch: true"
    features = [(feature["name"], feature["datatype"], "-1") for feature in signature["features"]]
    inputs = [*features, ("session_length", "INT32", "1"), ("top_k", "INT32", "1"), ("exclude_seen", "BOOL", "1")]
    inputs += [(name, "BYTES", "-1") for name in ("exclude_item_ids", "allow_item_ids")]
    config = _config(NAME, inputs, _ANSWER, max_batch_size=64, of_inputs=optional)
    config += ["dynamic_batching { }", _signature_parameter(signature)]
    return _write(folder / "noop", {NAME: (config, _NOOP_MODEL)})


def write_noop_ensemble(folder: Path, ours: Path) -> Path:
    """The floor of `ensemble`: its configurations and the tensors of one session, in steps that look at nothing.

    ours: the repository of the bundle.
    """
    repository = folder / "noop_ensemble"
    shutil.rmtree(repository, ignore_errors=True)
    for step in ("", "_features", "_retrieval", "_items"):
        model = repository / f"{NAME}{step}"
        (model / "1").mkdir(parents=True)
        text = (ours / model.name / "config.pbtxt").read_text(encoding="utf-8")
        (model / "config.pbtxt").write_text(_LEFT_OUT.sub("", text), encoding="utf-8")
        if step:
            width = K if step == "_items" else 64  # the shortest list of filters
            (model / "1" / "model.py").write_text(_NOOP_STEP.replace("WIDTH", str(width)), encoding="utf-8")
    return repository


def write_nvtabular(folder: Path, signature: Mapping[str, Any], peer: Path) -> Path:
    """Two Python models behind an ensemble: the Workflow, then TorchScript; their code is in nvtabular_steps/."""
    described = json.loads((peer / "peer.json").read_text(encoding="utf-8"))
    types = {"int64": "INT64", "float32": "FP32"}
    encoded = [(n, types[d], "-1, -1") for n, d in zip(described["tensors"], described["dtypes"], strict=True)]
    features = [(feature["name"], feature["datatype"], "-1, -1") for feature in signature["features"]]
    request = [*features, ("session_length", "INT32", "-1, 1"), ("top_k", "INT32", "-1, 1")]
    answer = [(name, kind, f"-1, {dims}") for name, kind, dims in _ANSWER]
    steps = Path(__file__).with_name("nvtabular_steps")
    first, second = f"{NAME}_0_transformworkflow", f"{NAME}_1_predictpytorch"
    repository = _write(
        folder / "nvtabular",
        {
            first: (_config(first, request, encoded), (steps / "transform_workflow.py").read_text(encoding="utf-8")),
            second: (_config(second, encoded, answer), (steps / "predict_pytorch.py").read_text(encoding="utf-8")),
        },
    )
    for model, part in ((first, "workflow"), (second, "model.pt"), (first, "peer.json"), (second, "peer.json")):
        copy = shutil.copytree if (peer / part).is_dir() else shutil.copy
        copy(peer / part, repository / model / "1" / part)
    (repository / NAME / "1").mkdir(parents=True)
    ensemble = [f'name: "{NAME}"', 'platform: "ensemble"', "max_batch_size: 0", _signature_parameter(signature)]
    ensemble += [*_tensors("input", request), *_tensors("output", answer)]
    ensemble.append(f"ensemble_scheduling {{ {_step(first, request, encoded)} {_step(second, encoded, answer)} }}")
    (repository / NAME / "config.pbtxt").write_text("\n".join(ensemble), encoding="utf-8")
    return repository


Tensors = Sequence[tuple[str, str, str]]
_ANSWER: Tensors = [("item_ids", "BYTES", "-1"), ("scores", "FP32", "-1"), ("status", "BYTES", "1")]


def _config(name: str, inputs: Tensors, outputs: Tensors, max_batch_size: int = 0, of_inputs: str = "") -> list[str]:
    lines = [f'name: "{name}"', 'backend: "python"', f"max_batch_size: {max_batch_size}"]
    lines += [*_tensors("input", inputs, of_inputs), *_tensors("output", outputs)]
    return [*lines, "instance_group [ { kind: KIND_CPU count: 1 } ]"]


def _tensors(kind: str, tensors: Tensors, more: str = "") -> list[str]:
    return [
        f'{kind} [ {{ name: "{name}" data_type: TYPE_{type_.replace("BYTES", "STRING")} dims: [{dims}] {more} }} ]'
        for name, type_, dims in tensors
    ]


def _step(model: str, inputs: Tensors, outputs: Tensors) -> str:
    maps = [f'input_map {{ key: "{name}" value: "{name}" }}' for name, _, _ in inputs]
    maps += [f'output_map {{ key: "{name}" value: "{name}" }}' for name, _, _ in outputs]
    return f'step [ {{ model_name: "{model}" model_version: -1 {" ".join(maps)} }} ]'


def _signature_parameter(signature: Mapping[str, object]) -> str:
    text = json.dumps(json.dumps(signature))
    return f'parameters {{ key: "nextitem.signature" value: {{ string_value: {text} }} }}'


def _write(repository: Path, models: Mapping[str, tuple[list[str], str]]) -> Path:
    shutil.rmtree(repository, ignore_errors=True)
    for name, (config, source) in models.items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text("\n".join(config), encoding="utf-8")
        (repository / name / "1" / "model.py").write_text(source, encoding="utf-8")
    return repository

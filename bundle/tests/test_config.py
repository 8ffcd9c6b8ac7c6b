from __future__ import annotations

import json
import re

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from nextitem_bundle.config import Batching, EnsembleStep, StepConfig, TensorSpec, WarmUp, write_ensemble


def read(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), pb.ModelConfig())


def test_a_step_is_a_model_of_the_python_backend(tmp_path):
    StepConfig(
        "ø_step",
        (TensorSpec("item_id", "BYTES", (-1, -1), optional=True), TensorSpec("price", "FP32", (-1, 4))),
        (TensorSpec("codes", "INT64", (-1,)),),
        max_batch_size=0,
    ).write(tmp_path)
    config = read(tmp_path)
    assert (config.name, config.backend, config.max_batch_size) == ("ø_step", "python", 0)
    assert [(t.name, t.data_type, list(t.dims), t.optional) for t in config.input] == [
        ("item_id", pb.TYPE_STRING, [-1, -1], True),
        ("price", pb.TYPE_FP32, [-1, 4], False),
    ]
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [("codes", pb.TYPE_INT64, [-1])]
    assert config.version_policy.HasField("all")
    assert not config.HasField("dynamic_batching")
    assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU


def test_a_batched_step_is_batched_dynamically_and_warmed_up_with_one_row_per_batch(tmp_path):
    tensors = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    StepConfig(
        "s",
        (TensorSpec("x", "FP32", (3,)),),
        (),
        max_batch_size=8,
        batching=Batching(4, max_queue_delay_us=50, queue_timeout_ms=3),
        instances=2,
        warm_ups=(WarmUp("w", tensors),),
        reasons={"max_batch_size:": "Because."},
    ).write(tmp_path)
    config = read(tmp_path)
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    assert config.dynamic_batching.max_queue_delay_microseconds == 50
    policy = config.dynamic_batching.default_queue_policy
    assert policy.default_timeout_microseconds == 3000
    assert config.instance_group[0].count == 2
    text = (tmp_path / "config.pbtxt").read_text()
    assert "# Because.\nmax_batch_size: 8" in text
    for field in ("instance_group {", "dynamic_batching {", "model_warmup {"):
        assert re.search(rf"^# .+\n{field}", text, re.MULTILINE), field
    (warm_up,) = config.model_warmup
    assert warm_up.batch_size == 2
    assert list(warm_up.inputs["x"].dims) == [3]
    data = (tmp_path / "warmup" / warm_up.inputs["x"].input_data_file).read_bytes()
    assert data == tensors["x"][0].tobytes()


@pytest.mark.parametrize("preferred", [None, 16])
def test_a_queue_without_a_timeout_has_no_policy_at_all(tmp_path, preferred):
    # Any policy ends Triton's prefetching, and its batcher then misses requests for up to 500 ms.
    StepConfig("s", (), (), max_batch_size=8, batching=Batching(preferred)).write(tmp_path)
    config = read(tmp_path)
    assert config.HasField("dynamic_batching")
    assert not config.dynamic_batching.HasField("default_queue_policy")
    assert list(config.dynamic_batching.preferred_batch_size) == [preferred] * (preferred is not None)


def test_an_unbatched_warm_up_keeps_its_whole_shape_and_strings_have_their_length_before_them(tmp_path):
    tensors = {"x": np.array([[b"a", "ø".encode()]], dtype=object)}
    specs = (TensorSpec("x", "BYTES", (-1, -1)),)
    StepConfig("s", specs, (), max_batch_size=0, warm_ups=(WarmUp("w", tensors),)).write(tmp_path)
    (warm_up,) = read(tmp_path).model_warmup
    assert list(warm_up.inputs["x"].dims) == [1, 2]
    assert (tmp_path / "warmup" / "w-x").read_bytes() == b"\x01\0\0\0a\x02\0\0\0" + "ø".encode()


def test_an_ensemble_is_pinned_to_one_version_of_itself_and_of_its_steps(tmp_path):
    document = {"window": 4, "name": "ø"}
    write_ensemble(
        tmp_path,
        "shop",
        7,
        [TensorSpec("item_id", "INT64", (-1, -1), optional=True)],
        [TensorSpec("scores", "FP32", (-1, -1))],
        [
            EnsembleStep("shop_features", 7, {"item_id": "item_id"}, {"codes": "c"}),
            EnsembleStep("b", 7, {"c": "c"}, {}),
        ],
        {"nextitem.signature": document},
    )
    config = read(tmp_path)
    assert config.platform == "ensemble"
    assert list(config.version_policy.specific.versions) == [7]
    steps = config.ensemble_scheduling.step
    assert [(step.model_name, step.model_version) for step in steps] == [("shop_features", 7), ("b", 7)]
    assert dict(steps[0].output_map) == {"codes": "c"}
    assert json.loads(config.parameters["nextitem.signature"].string_value) == document


def test_an_unknown_type_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="TYPE_FP128"):
        StepConfig("s", (TensorSpec("x", "FP128", (1,)),), (), max_batch_size=0).write(tmp_path)


@pytest.mark.parametrize("name", ["a/b", "../../up", "x" * 260])
def test_warm_up_data_of_any_tensor_are_files_of_the_model(tmp_path, name):
    tensors = {name: np.zeros((1, 2), np.float32), "plain": np.ones((1, 2), np.float32)}
    inputs = tuple(TensorSpec(tensor, "FP32", (-1, 2)) for tensor in tensors)
    StepConfig("s", inputs, (), max_batch_size=0, warm_ups=(WarmUp("w", tensors),), warm_up_folder="1").write(tmp_path)
    (warm_up,) = read(tmp_path).model_warmup
    files = {tensor: warm_up.inputs[tensor].input_data_file for tensor in tensors}
    assert files["plain"] == "1/w-plain"
    assert {path.relative_to(tmp_path / "warmup").as_posix() for path in (tmp_path / "warmup" / "1").iterdir()} == {
        *files.values()
    }

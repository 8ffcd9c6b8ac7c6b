from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from nextitem_bundle.manifest import MANIFEST
from nextitem_bundle.runtime.signature import Signature
from nextitem_bundle.signature import FORMAT_VERSION
from nextitem_export.options import FEATURES


@pytest.fixture(scope="module")
def document(bundle):
    return json.loads(bundle.manifest.read_text(encoding="utf-8"))


def test_the_checksums_match_the_files_and_leave_none_out(bundle, document):
    files = {str(path.relative_to(bundle.repository)) for path in bundle.repository.rglob("*") if path.is_file()}
    free = {f"shop/1/{MANIFEST}", "shop_retrieval/1/availability.json"}  # operators change the list
    assert files > free
    free |= {path for path in files if path.endswith("/__pycache__")}  # which copying may lose
    assert set(document["sha256"]) == files - free
    assert len(files) > 30
    for name, checksum in document["sha256"].items():
        assert hashlib.sha256((bundle.repository / name).read_bytes()).hexdigest() == checksum


def test_it_says_what_the_bundle_was_made_from_and_with(document, plan):
    assert document["format_version"] == FORMAT_VERSION
    assert (document["name"], document["version"]) == ("shop", 1)
    assert document["made_from"] == {"run": "a run"}
    assert (document["layout"], document["format"], document["runtime"]) == ("ensemble", "onnx", "python")
    assert document["fell_out"] == {}
    assert document["models"] == ["shop_features", "shop_retrieval", "shop_items", "shop"]
    assert document["catalogue_size"] == len(plan.vocabulary.values)
    assert document["libraries"]["torch"] == importlib.metadata.version("torch")
    assert datetime.datetime.fromisoformat(document["created"]).tzinfo is not None
    assert [f["name"] for f in document["model_features"]] == [f.name for f in plan.features]


@pytest.mark.parametrize("features", FEATURES)
def test_it_owns_up_to_the_pickled_workflow(document, nvtabular_bundle, features):
    if features == "nvtabular":
        document = json.loads(nvtabular_bundle.manifest.read_text(encoding="utf-8"))
    pickles = [path for path in document["sha256"] if path.endswith((".pkl", ".pickle"))]
    assert document["features"] == features
    assert document["holds_pickle"] == (features == "nvtabular")
    assert pickles == (["shop_features/1/workflow/workflow.pkl"] if features == "nvtabular" else [])


def test_it_holds_the_parity_report(document, bundle):
    assert document["parity"] == [report.to_json() for report in bundle.parity]
    assert document["parity"][0]["judged"] > 0


def test_the_request_is_the_signature_that_clients_read(document, bundle):
    text = (bundle.repository / "shop" / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, pb.ModelConfig())
    signature = json.loads(config.parameters["nextitem.signature"].string_value)
    assert document["request"] == signature
    assert Signature.from_json(signature).bundle_version == 1
    sent = {tensor.name: pb.DataType.Name(tensor.data_type) for tensor in config.input}
    for feature in signature["features"]:
        assert sent.pop(feature["name"]) == f"TYPE_{feature['datatype'].replace('BYTES', 'STRING')}"
    assert set(sent) == set(signature["options"])
    answered = {tensor.name: pb.DataType.Name(tensor.data_type) for tensor in config.output}
    for name, response in document["response"].items():
        assert answered[name] == f"TYPE_{response['datatype'].replace('BYTES', 'STRING')}"


def test_each_model_s_configuration_lies_beside_its_version_too(bundle, document):
    for model in document["models"]:
        assert document["sha256"][f"{model}/1/config.pbtxt"] == document["sha256"][f"{model}/config.pbtxt"]

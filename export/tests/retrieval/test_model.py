"""What comes as a session model: wrapped, compiled, in other dtypes, or no model at all."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from nextitem_export import UnsupportedModel, export_bundle
from nextitem_export.retrieval.model import session_model


class Mean(nn.Module):
    def __init__(self, items: int = 9) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(items, 4)
        self.head = nn.Linear(4, 4)

    def query(self, features):
        return self.head(self.items(features["item"])).mean(1)

    def item_table(self):
        return self.items.weight


class Nested(Mean):
    def __init__(self, wrap) -> None:
        super().__init__()
        self.head = wrap(self.head)


class Decorated(Mean):
    @torch.compile
    def query(self, features):
        return super().query(features)


def in_place(model: Mean) -> Mean:
    model.compile()
    return model


def by_method(model: Mean) -> Mean:
    model.query = torch.compile(model.query)
    return model


WRAPPED = {
    "torch.compile": lambda: torch.compile(Mean()),
    "DataParallel": lambda: nn.DataParallel(Mean()),
    "both": lambda: nn.DataParallel(torch.compile(Mean())),
    "an average of weights": lambda: AveragedModel(Mean()),
    "a part that is compiled": lambda: Nested(torch.compile),
    "a part that is parallel": lambda: Nested(nn.DataParallel),
    "compiled in place": lambda: in_place(Mean()),
    "a compiled method": lambda: by_method(Mean()),
    "a decorated method": Decorated,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_training_wraps_around_a_model_is_taken_off(name):
    given = WRAPPED[name]()
    names = list(given.state_dict())
    model = session_model(given.train())
    assert not model.training
    assert type(model).__name__ in ("Mean", "Nested", "Decorated")
    features = {"item": torch.tensor([[3, 4], [5, 0]])}
    model.requires_grad_(False)
    traced = torch.jit.trace(lambda given: model.query(given), (features,), strict=False)
    torch.testing.assert_close(traced(features), Mean().query(features))
    assert list(given.state_dict()) == names
    assert given.training


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel], ids=["torch.compile", "DataParallel"])
def test_a_wrapped_model_is_exported_with_the_features_that_it_names(shop, workflow, sample, wrap, tmp_path):
    bundle = export_bundle(
        wrap(shop.model_for(workflow)),
        workflow,
        sample[sample["session_id"] < 2],
        repository=tmp_path / "repository",
        name="shop",
        tie_breaker_column="position",
    )
    assert max(report.score_difference for report in bundle.parity) < 1e-4


def refusal(model: object) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        session_model(model)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Mean, "the model is the class Mean, expected a module with its weights: give Mean(…)"),
        (
            Mean().state_dict(),
            "the model is a dict of 3 entries ('items.weight', 'head.weight', 'head.bias', …), as a state_",
        ),
        (
            {"epoch": 3, "state_dict": OrderedDict()},
            "the model is a dict of 2 entries ('epoch', 'state_dict', …), as a",
        ),
        ({"epoch": 3, "net": Mean()}, "the model is a dict whose 'net' is the module: give that"),
        ("model.pt", "the model is the path 'model.pt', and no file is there"),
        (Path("model.bin"), "the model is the path 'model.bin', expected a torch.nn.Module, a TorchScript file (.pt, "),
        (
            None,
            "the model is of type NoneType, expected a torch.nn.Module with query() and item_table(), or a forward()",
        ),
    ],
)
def test_what_is_no_module_is_refused_with_what_to_give(model, sentence):
    assert refusal(model).startswith(sentence)


def test_a_state_dict_is_refused_with_how_to_make_a_module_of_it():
    assert "build the module, load them with its load_state_dict(), and give the module" in refusal(Mean().state_dict())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes_are_refused_with_the_parameters_and_the_remedy(dtype):
    message = refusal(nn.DataParallel(Mean().to(getattr(torch, dtype))))
    assert message.startswith(
        f"the parameters of Mean are {dtype} (items.weight and 2 more), and a bundle computes in float32"
    )
    assert "give model.float(), and hold the bundle's answers against what that gives offline" in message


def test_one_parameter_of_another_dtype_is_named():
    model = Mean()
    model.items.half()
    assert "the parameters of Mean are float16 (items.weight), and" in refusal(model)


def test_buffers_may_have_any_dtype():
    model = Mean()
    model.register_buffer("since", torch.zeros(1, dtype=torch.float64))
    assert session_model(model).since.dtype == torch.float64


def test_a_model_without_weights_is_refused():
    assert refusal(Mean().to("meta")) == "Mean is on the device 'meta' and has no weights: load them before the export"


def test_a_model_that_keeps_tensors_of_a_run_is_refused_with_the_remedy():
    model = Mean()
    model.last = model.query({"item": torch.tensor([[3]])})
    message = refusal(model)
    assert message.startswith("Mean cannot be copied, which keeps the export from changing it: RuntimeError: ")
    assert message.endswith("detach() tensors that it keeps from a run")


def test_torchscript_is_taken_as_it_is_within_a_module_and_by_itself():
    script = torch.jit.trace(nn.Linear(2, 2), (torch.zeros(1, 2),))
    inputs = torch.ones(3, 2)
    for given in (script, nn.Sequential(script)):
        model = session_model(given)
        assert not model.training
        answer = model({"item": inputs}) if given is script else model(inputs)
        torch.testing.assert_close(answer, script(inputs))


def test_torchscript_is_checked_as_modules_are():
    script = torch.jit.trace(nn.Linear(2, 2).double(), (torch.zeros(1, 2, dtype=torch.float64),))
    assert "the parameters of TopLevelTracedModule are float64" in refusal(script)


def test_weights_of_nan_are_called_what_they_are():
    model = Mean()
    model.items.weight.data[3, 1] = float("nan")
    with pytest.raises(
        UnsupportedModel, match=r"the parameters of Mean hold NaN \(items\.weight\): its training diverged"
    ):
        session_model(model)
    model.head.bias.data[0] = float("nan")
    with pytest.raises(UnsupportedModel, match=r"hold NaN \(items\.weight and 1 more\)"):
        session_model(model)


def test_an_infinite_weight_may_bar_an_item():
    model = Mean()
    model.head.bias.data[0] = float("-inf")
    assert session_model(model).head.bias[0] == float("-inf")

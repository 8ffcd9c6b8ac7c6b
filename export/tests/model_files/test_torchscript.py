from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nextitem_export import UnsupportedModel
from nextitem_export.model_files.torchscript import ScriptQuery, ScriptScores, load_script


class Plain(nn.Module):
    def forward(self, codes: Tensor, price: Tensor, training: bool = False) -> Tensor:
        return codes.float() - price


class ByName(nn.Module):
    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return features["codes"].float() - features["price"]


SCRIPT = torch.jit.script(Plain())
FEATURES = {"item": torch.tensor([[3, 4]]), "cost": torch.tensor([[1.0, 2.0]])}


def refusal(call) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        call()
    return str(caught.value)


def test_features_are_given_in_order_without_what_has_a_default():
    model = ScriptScores(SCRIPT, None)
    assert model.arguments == ("codes", "price")
    assert model(FEATURES).tolist() == [[2, 2]]
    query = ScriptQuery(SCRIPT, None, torch.ones(5, 2))
    assert query.query(FEATURES).tolist() == [[2, 2]]
    assert query.item_table().shape == (5, 2)


def test_one_dict_is_given_as_it_is():
    model = ScriptScores(torch.jit.script(ByName()), None)
    named = dict(zip(("codes", "price"), FEATURES.values(), strict=True))
    assert model(named).tolist() == [[2, 2]]
    assert model.features_among(["codes", "price"]) == ("codes", "price")


def test_inputs_name_the_features_of_arguments():
    assert ScriptScores(SCRIPT, {"codes": "item"}).feature_names == ("item", "price")
    assert "inputs names colour, and the arguments of the TorchScript are codes, price" in refusal(
        lambda: ScriptScores(SCRIPT, {"colour": "x"})
    )


def test_what_it_reads_is_chosen_where_that_is_certain_and_refused_else():
    model = ScriptScores(SCRIPT, None)
    assert model.features_among(["price", "codes", "other"]) == ("codes", "price")
    assert "takes 2 lists (codes, price), and the workflow returns a, b" in refusal(
        lambda: model.features_among(["a", "b"])
    )
    one = ScriptScores(torch.jit.trace(nn.Identity(), torch.ones(2)), None)
    assert one.features_among(["a"]) == ("a",)


def test_another_number_of_features_is_refused():
    said = refusal(lambda: ScriptScores(SCRIPT, None)({"item": FEATURES["item"]}))
    assert said == (
        "ScriptScores takes 2 lists (codes, price), and features names item: name one for each argument, in their order"
    )


def test_a_file_is_loaded_and_another_one_refused(tmp_path):
    torch.jit.save(SCRIPT, str(tmp_path / "model.pt"))
    assert load_script(tmp_path / "model.pt")(*FEATURES.values()).tolist() == [[2, 2]]
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("no model")
    for name in ("weights.pt", "text.pt"):
        said = refusal(lambda name=name: load_script(tmp_path / name))
        assert f"{name} is no TorchScript file (" in said
        assert "load it yourself and give the module, or write TorchScript with torch.jit.save" in said

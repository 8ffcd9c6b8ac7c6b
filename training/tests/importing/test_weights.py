"""State dicts as files, and what is left over in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nextitem_training.errors import CheckpointError
from nextitem_training.importing.shape import model_shape
from nextitem_training.importing.told import Told
from nextitem_training.importing.weights import Weights, read_weights

RECORDED = Path(__file__).with_name("recorded")
TAGS = {"item_id_list": frozenset({"item_id", "categorical"})}


class Model:
    """What a whole model's pickle would call for."""


@pytest.fixture
def tensors():
    return load_file(RECORDED / "xlnet_mlm.safetensors")


@pytest.mark.parametrize(
    "wrapped", [lambda t: t, lambda t: {"state_dict": t}, lambda t: {f"parent.{name}": w for name, w in t.items()}]
)
def test_a_state_dict_of_torch_is_read_as_one_of_safetensors(tensors, tmp_path, wrapped):
    torch.save(wrapped(tensors), tmp_path / "model.pt")
    there, here = read_weights(RECORDED / "xlnet_mlm.safetensors"), read_weights(tmp_path / "model.pt")
    assert there.below("") == here.below("")
    assert all(torch.equal(there[name], here[name]) for name in there.below(""))


def test_nothing_but_weights_is_unpickled(tmp_path):
    torch.save({"model": Model()}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="cannot be read as weights alone"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("held", "sentence"), [({"a": torch.ones(1)}, "holds a …; expected is the state dict"), ([1], "holds list")]
)
def test_what_is_no_state_dict_of_a_model_is_refused(tmp_path, held, sentence):
    torch.save(held, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=sentence):
        read_weights(tmp_path / "model.pt")


def test_several_heads_are_refused(tensors, tmp_path):
    torch.save(tensors | {"heads.1.weight": torch.ones(1)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="several heads"):
        read_weights(tmp_path / "model.pt")


def test_what_nobody_reads_is_left_over(tensors):
    weights = Weights({"a.x": torch.ones(1), "a.y": torch.ones(2), "b": torch.ones(3)})
    assert weights.shape("a.y") == (2,)
    assert "a.x" in weights
    assert weights.children("a.") == ["x", "y"]
    weights.ignore("b")
    assert list(weights.unread()) == ["a.x", "a.y"]
    assert torch.equal(weights["a.x"], torch.ones(1))
    assert list(weights.unread()) == ["a.y"]


def without(tensors, *names):
    return Weights({key.removeprefix("heads.0."): w for key, w in tensors.items() if not any(n in key for n in names)})


@pytest.mark.parametrize(
    ("gone", "tags", "sentence"),
    [
        (["embedding_tables"], TAGS, "embeds nothing, of which the schema tags none"),
        (["nothing"], {}, "tags none as item_id"),
        (["masked_item_embedding"], TAGS, "has no 'body.0._masking.masked_item_embedding'"),
        ([".transformer."], TAGS, "has 0 transformers in its body"),
        (["rel_attn"], TAGS, "no body that is known here"),
    ],
)
def test_what_is_missing_is_named(tensors, gone, tags, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        model_shape(without(tensors, *gone), tags, Told("mlm"))


@pytest.mark.parametrize("body", ["longformer", "reformer", "transformer_xl"])
def test_a_body_that_runs_otherwise_here_is_refused(tensors, body):
    from nextitem_training.importing.bodies import _SIGNS

    weights = without(tensors, ".transformer.")._tensors | {f"body.1.transformer.{_SIGNS[body]}": torch.ones(2, 2)}
    with pytest.raises(CheckpointError, match=f"has the body '{body}'; those taken over are albert"):
        model_shape(Weights(weights), TAGS, Told("mlm"))


def test_added_vectors_are_asked_about(tensors):
    there = "heads.0.body.0.to_merge.categorical_module.embedding_tables.category_list.weight"
    tensors[there] = torch.ones(5, 8)
    with pytest.raises(CheckpointError, match="added up, and no weight tells how; say it with --aggregation"):
        model_shape(without(tensors), TAGS, Told("mlm"))
    assert model_shape(without(tensors), TAGS, Told("mlm", aggregation="element-wise-sum")).aggregation == "sum"
    tensors[there] = torch.ones(5, 3)
    with pytest.raises(CheckpointError, match=r"have the widths 8, 3, and what they become has 8: neither"):
        model_shape(without(tensors), TAGS, Told("mlm"))

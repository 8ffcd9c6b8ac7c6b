"""What an export keeps of its catalogue: the encoder, the proof of its inputs, and why some bundles keep none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch import nn

from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_export import ExportOptions, ParityError, export_bundle
from nextitem_export.catalogue.attributes import Attribute, Attributes
from nextitem_export.catalogue.keeping import Encoder, RunItems, prove_encoding, write_encoder
from nextitem_export.catalogue.stored import ENCODER, FOLDER, open_graph
from nextitem_training.inputs.content import ItemContent
from nextitem_training.schema import ItemAttribute, ItemsSchema

WIDTH = 8
NAMES = {
    "codes": [("category", "categorical", "string"), ("size", "categorical", "int64")],
    "bags": [("tags", "multi_hot", "string"), ("shops", "multi_hot", "int64")],
    "numbers": [("price", "log_continuous", "float32"), ("rating", "continuous", "float32")],
    "vectors": [],
}
PARTS = [*NAMES, "all"]
VALUES = {"string": ("a", "b", "ø"), "int64": (3, 2**60 + 1)}
COLUMNS = {
    "category": ["a", None, "new", "ø", "b"],
    "size": [3, 4, None, 2**60 + 1, 3],
    "tags": [["a"], [], None, ["ø", "b", "a"], ["new", None]],
    "shops": [[3], None, [9], [2**60 + 1, 3], []],
    "price": [1.0, None, -2.0, 1e6, 0.0],
    "rating": [3.0, 4.0, None, -1.0, 0.5],
    "text": [[1.0, 2.0, 3.0], None, [0.0, 0.0, 0.0], [-1.0, 0.5, 9.0], [4.0, 5.0, 6.0]],
}


def attributes_of(part: str) -> Attributes:
    chosen = [entry for name, entries in NAMES.items() if part in (name, "all") for entry in entries]
    made = [
        Attribute(name, kind, dtype, mean=0.5, std=2.0)
        if dtype == "float32"
        else Attribute(name, kind, dtype, VALUES[dtype])
        for name, kind, dtype in chosen
    ]
    return Attributes(tuple(made), "text", 3) if part in ("vectors", "all") else Attributes(tuple(made))


def items_of(part: str, count: int = 5) -> RunItems:
    """What a run knows of so many items, encoded as a model has them."""
    attributes = attributes_of(part)
    columns = {field.name: pa.array(COLUMNS[field.name][:count], field.type) for field in attributes.schema}
    rows = pa.table(columns, schema=attributes.schema)
    tensors = {
        name: np.concatenate([np.zeros((FIRST_ITEM, values.shape[1]), values.dtype), values])
        for name, values in attributes.encode(rows).tensors.items()
    }
    schema = ItemsSchema(
        tuple(
            ItemAttribute(
                one.name,
                one.kind,  # pyright: ignore[reportArgumentType]
                one.dtype,  # pyright: ignore[reportArgumentType]
                FIRST_ITEM + len(one.values) if one.values else None,
                tensors[f"bag_{attributes.of_kind('multi_hot').index(one)}"].shape[1]
                if one.kind == "multi_hot"
                else None,
            )
            for one in attributes.attributes
        ),
        attributes.vectors,
        attributes.vectors_width,
    )
    torch.manual_seed(0)
    content = ItemContent(FIRST_ITEM + count, schema, 4, WIDTH, 0.5)
    given = {name: torch.from_numpy(values) for name, values in tensors.items()}
    codes, numbers, vectors = (given.get(name, torch.empty(0)) for name in ("codes", "numbers", "vectors"))
    content.fill(codes, [given[name] for name in given if name.startswith("bag_")], numbers, vectors)
    ids = np.random.default_rng(0).normal(size=(FIRST_ITEM + count, WIDTH)).astype(np.float32)
    return RunItems(attributes, rows, Encoder(content.eval()), ids, tensors)


@pytest.mark.parametrize("part", PARTS)
def test_the_encoder_gives_what_the_model_has_of_each_item(part, tmp_path):
    items = items_of(part)
    write_encoder(items, tmp_path / ENCODER)
    graph = open_graph(tmp_path / ENCODER, threads=1)
    table = items.encoder.content.table().detach().numpy()[FIRST_ITEM:]
    content = items.attributes.encode(items.rows).tensors
    assert {value.name for value in graph.get_inputs()} == set(content)
    np.testing.assert_allclose(graph.run(None, content)[0], table, atol=1e-6)
    for count in (1, 3):  # batches of another size, and bags of another width
        wide = {
            name: np.pad(values[:count], [(0, 0), (0, 2)]) if name.startswith("bag_") else values[:count]
            for name, values in content.items()
        }
        np.testing.assert_allclose(graph.run(None, wide)[0], table[:count], atol=1e-6)


@pytest.mark.parametrize("part", PARTS)
def test_attributes_are_encoded_as_the_model_has_them(part):
    prove_encoding(items_of(part))


@pytest.mark.parametrize("name", ["codes", "bag_0", "bag_1", "numbers", "vectors"])
def test_an_encoding_that_the_model_was_not_trained_on_is_refused(name):
    items = items_of("all")
    items.tensors[name][FIRST_ITEM + 3, 0] += 1
    with pytest.raises(ParityError, match=f"the attributes of the item of code {FIRST_ITEM + 3} become .* in '{name}'"):
        prove_encoding(items)


def test_values_beyond_what_a_list_is_encoded_to_are_noticed():
    items = items_of("bags")
    longer = np.pad(items.tensors["bag_0"], [(0, 0), (0, 1)])
    longer[FIRST_ITEM + 1, -1] = 3
    items.tensors["bag_0"] = longer  # pyright: ignore[reportIndexIssue]
    with pytest.raises(ParityError, match=f"code {FIRST_ITEM + 1} become"):
        prove_encoding(items)


# Which models keep one.


class TwoTables(nn.Module):
    """Items by a second table as well, whose rows are found by what is made of the codes."""

    item_feature = "item_id-list"
    feature_names = ("item_id-list",)

    def __init__(self, count: int, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items, self.second, self.how = nn.Embedding(count, WIDTH), nn.Embedding(count, WIDTH), how

    def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        codes = features["item_id-list"]
        read = {"plain": codes, "clamped": codes.clamp(max=self.items.num_embeddings - 1), "halved": codes * 1}[
            self.how
        ]
        return (self.items(codes) + self.second(read.reshape(codes.shape))).sum(1)

    def item_table(self) -> torch.Tensor:
        return self.items.weight


class OtherTable(TwoTables):
    """Compares queries with another table than it embeds by."""

    def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.items(features["item_id-list"]).sum(1)

    def item_table(self) -> torch.Tensor:
        return self.second.weight


class Scores(TwoTables):
    """Gives scores alone."""

    query = None
    item_table = None

    def __getattribute__(self, name: str):
        if name in ("query", "item_table"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.items(features["item_id-list"]).sum(1) @ self.items.weight.T


@pytest.fixture
def refusal(workflow, model, sample, tmp_path):
    """Why a bundle of a model keeps no catalogue."""

    def of(made: nn.Module, **options) -> str | None:
        export_bundle(
            made.eval(),
            workflow,
            sample[sample.session_id < 3],
            repository=tmp_path / "repository",
            name="shop",
            tie_breaker_column="position",
            options=ExportOptions(**options),
        )
        catalogue = read_manifest(tmp_path / "repository", "shop", 1).catalogue
        assert catalogue is not None
        assert (tmp_path / "repository" / "shop" / "1" / FOLDER).exists() == (catalogue.refused is None)
        return catalogue.refused

    return of


@pytest.mark.parametrize("how", ["plain", "clamped", "halved"])
def test_a_model_with_a_second_table_of_items(refusal, model, how):
    assert "looks items up in 1 further tables" in (refusal(TwoTables(model.items.num_embeddings, how)) or "")


def test_a_model_with_another_table_at_its_end(refusal, model):
    found = refusal(OtherTable(model.items.num_embeddings, "plain"))
    assert "compares queries with other vectors than those that it embeds items by" in (found or "")


def test_a_model_that_gives_scores(refusal, model):
    assert "gives scores alone" in (refusal(Scores(model.items.num_embeddings, "plain")) or "")


def test_a_model_that_keeps_one(refusal, model):
    assert refusal(model) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"runtime": "native"}, "Triton's own backend: export it with ExportOptions(runtime='python')"),
        ({"format": "torchscript"}, "TorchScript: export it with ExportOptions(format='onnx')"),
        ({"features": "nvtabular"}, "serves the workflow itself, with the vocabulary in it"),
    ],
)
def test_a_bundle_that_has_nothing_to_rewrite(refusal, model, options, sentence):
    assert sentence in (refusal(model, **options) or "")


@pytest.mark.parametrize("count", [0, 3, 100])
def test_so_many_sessions_are_kept(export_shop, sample, count):
    bundle = export_shop(keep_proof=count)
    file = bundle.repository / "shop" / "1" / FOLDER / "proof.parquet"
    assert file.exists() == bool(count)
    if count:
        kept = pyarrow.parquet.read_table(file).to_pandas()
        assert kept.session_id.nunique() == min(count, sample.session_id.nunique())
        assert kept.session_id.tolist() == sample.session_id[sample.session_id.isin(kept.session_id)].tolist()

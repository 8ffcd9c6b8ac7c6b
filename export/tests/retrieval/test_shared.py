"""The item table is stored once where the model embeds by one and compares with the other."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nextitem_export.parity.cases import Case

#: torch.export takes seconds, however small the model.
EXPORTERS = ["onnx", pytest.param("onnx_dynamo", marks=pytest.mark.slow)]


class Scaled:
    """Makes of the shop's model one that compares with another table than it embeds by."""

    def __init__(self, shop, workflow, change) -> None:
        class Model(shop.TinyModel):
            def item_table(self) -> torch.Tensor:
                return change(self.items.weight)

        sizes = (
            workflow.output_schema[name].properties["embedding_sizes"]["cardinality"]
            for name in ("item_id-list", "category-list")
        )
        self.model = Model(*sizes).eval()


def tables(folder, like) -> int:
    graph = onnx.load(str(folder / "model.onnx")).graph
    return sum(list(tensor.dims) == list(like.shape) for tensor in graph.initializer)


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        (lambda weight: weight, 1),
        (lambda weight: nn.functional.normalize(weight, dim=1), 1),
        (lambda weight: nn.functional.normalize(weight, dim=1) * 5, 1),
        (lambda weight: torch.cat([torch.zeros(3, weight.shape[1]), weight[3:]]), 2),  # a zero row has no direction
        (lambda weight: weight.flip(1), 2),
    ],
    ids=["tied", "normalised", "scaled", "zeroed", "other"],
)
@pytest.mark.parametrize("format_name", EXPORTERS)
def test_tables_of_the_same_directions_are_one(shop, frame, workflow, tmp_path, change, stored, format_name):
    model = Scaled(shop, workflow, change).model
    plan = shop.plan_of(workflow, frame, model)
    folders = shop.steps_of(plan, tmp_path, format=format_name)
    assert tables(folders[1], model.items.weight) == stored
    cases = [Case("sample", plan.sessions, 16), Case("filters", plan.sessions, 16, filtered=True)]
    reports = shop.gate_of(plan, folders).check(cases)
    assert max(report.score_difference for report in reports) < 1e-5


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("format_name", EXPORTERS)
def test_a_table_with_a_bias_behind_it_is_one(shop, frame, workflow, tmp_path, normalised, format_name):
    class Biased(shop.TinyModel):
        def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
            return nn.functional.pad(super().query(features), (0, 1), value=1.0)

        def item_table(self) -> torch.Tensor:
            rows = nn.functional.normalize(self.items.weight, dim=1) if normalised else self.items.weight
            return torch.cat([rows, torch.linspace(-3, 3, len(rows))[:, None]], dim=1)

    tiny = shop.model_for(workflow)
    model = Biased(tiny.items.num_embeddings, tiny.categories.num_embeddings).eval()
    plan = shop.plan_of(workflow, frame, model)
    folders = shop.steps_of(plan, tmp_path, format=format_name)
    assert tables(folders[1], model.items.weight) == 0
    assert tables(folders[1], model.item_table()) == 1
    (report,) = shop.gate_of(plan, folders).check([Case("sample", plan.sessions, 16)])
    assert report.score_difference < 1e-5


def test_a_table_that_is_used_otherwise_stays_as_it_is(shop, frame, workflow, tmp_path):
    class Mean(shop.TinyModel):
        def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
            return super().query(features) + self.items.weight.mean(0)

        def item_table(self) -> torch.Tensor:
            return nn.functional.normalize(self.items.weight, dim=1)

    tiny = shop.model_for(workflow)
    model = Mean(tiny.items.num_embeddings, tiny.categories.num_embeddings).eval()
    plan = shop.plan_of(workflow, frame, model)
    folders = shop.steps_of(plan, tmp_path)
    assert tables(folders[1], model.items.weight) == 2
    (report,) = shop.gate_of(plan, folders).check([Case("sample", plan.sessions, 16)])
    assert np.isfinite(report.score_difference)

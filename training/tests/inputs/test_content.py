import dataclasses

import pytest
import torch

from nextitem_training.bodies import BODIES
from nextitem_training.config import InputsConfig, LossConfig, ModelConfig
from nextitem_training.inputs.content import ItemContent
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import OBJECTIVES
from nextitem_training.schema import ItemAttribute, ItemsSchema

SMALL = ModelConfig(d_model=16, heads=2, layers=1, side_width=4, initializer_range=0.2, dropout=0.0)
ATTRIBUTES = (
    ItemAttribute("brand", "categorical", "string", 6),
    ItemAttribute("shop", "categorical", "int64", 5),
    ItemAttribute("tags", "multi_hot", "string", 8, 3),
    ItemAttribute("price", "log_continuous", "float32"),
    ItemAttribute("weight", "continuous", "float32"),
)
ITEMS = ItemsSchema(ATTRIBUTES, "text", 7)
PARTS = {
    "categorical": ItemsSchema(ATTRIBUTES[:2]),
    "multi_hot": ItemsSchema(ATTRIBUTES[2:3]),
    "numbers": ItemsSchema(ATTRIBUTES[3:]),
    "vectors": ItemsSchema((), "text", 7),
    "all": ITEMS,
}


def fill(content, seed=1):
    """Random attributes of all items, as the items workflow gives them."""
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in content.named_parameters():
        if parameter.requires_grad:
            continue
        if parameter.dtype == torch.int64:
            values = torch.randint(5, parameter.shape, generator=draw)
        else:
            values = torch.randn(parameter.shape, generator=draw)
        values[:3] = 0
        parameter.data.copy_(values)
        assert name.split(".")[0] in ("codes", "numbers", "vectors", "bags")
    return content


def model_of(schema, config=SMALL, items=ITEMS, id_dropout=0.3, **tables):
    model = SessionModel(config, dataclasses.replace(schema, items=items), id_dropout=id_dropout, **tables)
    fill(model.content)
    return model


@pytest.mark.parametrize("items", PARTS.values(), ids=PARTS)
def test_every_kind_of_attribute_alone_and_all_together(items):
    content = fill(ItemContent(20, items, 4, 16, 0.2))
    table = content.table()
    assert table.shape == (20, 16)
    assert torch.equal(table[:3], torch.zeros(3, 16))
    assert len(content) == 20
    assert len({tuple(row.tolist()) for row in table[3:]}) > 5
    codes = torch.tensor([[4, 19], [0, 2]])
    torch.testing.assert_close(content(codes), table[codes])


def test_encode_is_what_an_items_attributes_say_whoever_has_them():
    content = fill(ItemContent(20, ITEMS, 4, 16, 0.2))
    rows = [table[5:9] for table in (content.codes, content.numbers, content.vectors)]
    found = content.encode(rows[0], [bag[5:9] for bag in content.bags], rows[1], rows[2])
    torch.testing.assert_close(found, content.table()[5:9])


def test_the_order_of_a_bag_and_its_padding_say_nothing():
    content = fill(ItemContent(5, PARTS["multi_hot"], 4, 16, 0.2))

    def of(*codes):
        return content.encode(None, [torch.tensor([codes])], None, None)

    torch.testing.assert_close(of(4, 6), of(6, 4, 0, 0))
    assert not torch.allclose(of(4, 6), of(4, 5))


def test_null_and_unknown_values_say_the_same_before_training():
    content = fill(ItemContent(5, PARTS["categorical"], 4, 16, 0.2))

    def of(*codes):
        return content.encode(torch.tensor([codes]), [], None, None)

    torch.testing.assert_close(of(1, 3), of(2, 3))
    assert not torch.allclose(of(3, 3), of(2, 3))


def test_an_item_is_its_id_and_its_content_where_it_is_read_and_where_it_is_scored(schema, batch_of):
    model, batch = model_of(schema).eval(), batch_of([5, 4], 5)
    weight = model.inputs.embeddings[0].weight
    table = weight + model.content.table()
    assert torch.equal(model.id_table(), weight)
    torch.testing.assert_close(model.item_table(), table)
    torch.testing.assert_close(model.inputs._parts(batch)[0], table[batch["item_id"]])
    codes = torch.tensor([[0, 4], [7, 1]])
    torch.testing.assert_close(model._known_rows(codes), table[3:][codes])


def test_ids_are_dropped_for_each_interaction_and_for_each_row_and_content_never(schema):
    model = model_of(schema, id_dropout=0.4).train()
    ids, content = model.id_table(), model.content.table()
    read = torch.full((50, 40), 7)
    for found, alone in ((model.inputs.item_rows(read), content[read]), (model.item_table(), content)):
        gone = (found == alone).all(dim=-1)
        kept = torch.isclose(found, alone + (ids[read] if found.dim() == 3 else ids)).all(dim=-1)
        assert (gone | kept).all()
    gone = (model.inputs.item_rows(read) == content[7]).all(dim=-1)
    assert 0.35 < gone.float().mean() < 0.45
    assert 0 < gone[0].float().mean() < 1
    model.eval()
    torch.testing.assert_close(model.inputs.item_rows(read), (ids + content)[read])


def test_the_ids_of_a_model_without_content_stay(schema):
    model = SessionModel(SMALL, schema, id_dropout=0.9).train()
    assert model.content is None
    assert model.item_table() is model.inputs.embeddings[0].weight
    assert model.id_table() is model.item_table()


@pytest.mark.parametrize("pretrained_as", [None, "input", "item"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_folded_model_scores_as_before_and_holds_no_attributes(schema, batch_of, pretrained_as, normalize):
    config = dataclasses.replace(SMALL, normalize=normalize, item_bias=True)
    inputs = InputsConfig(pretrained_width=6, pretrained_as=pretrained_as) if pretrained_as else InputsConfig()
    model = model_of(schema, config, dataclasses.replace(ITEMS, vectors="", vectors_width=0), inputs=inputs).eval()
    if pretrained_as:
        torch.nn.init.normal_(model.inputs.pretrained.vectors)
    batch = batch_of([5, 4, 0], 5)
    with torch.no_grad():
        before, parts = model(batch), model.id_table() + model.content.table()
        unfolded = torch.nn.functional.normalize(parts, dim=-1) if normalize else parts
        torch.testing.assert_close(model.item_table()[:, :-1], unfolded)
        for _ in range(2):
            torch.testing.assert_close(model.fold()(batch), before, atol=1e-5, rtol=1e-5)
            assert model.content is None
            assert not any("content" in name for name in model.state_dict())


@pytest.mark.parametrize("kind", ["full", "sampled-softmax", "gbce"])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_every_loss_and_objective_learns_every_weight_of_it_and_no_attribute(schema, batch_of, objective, kind):
    body = next(name for name in ("xlnet", *BODIES) if objective in BODIES.get(name).objectives)
    config = dataclasses.replace(SMALL, body=body, pretraining=objective)
    model = model_of(schema, config, loss=LossConfig(kind=kind, negatives=4)).train()
    model.loss(batch_of([6, 6, 5, 6], 6))[0].backward()
    for name, parameter in model.content.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.any(), name
    learnt = {name for name, parameter in model.content.named_parameters() if parameter.requires_grad}
    assert not learnt & {"codes", "numbers", "vectors", "bags.0"}
    assert {"inputs.content.codes", "inputs.content.bags.0"} <= set(model.state_dict())


@pytest.mark.parametrize("body", list(BODIES))
def test_every_body_reads_it(schema, batch_of, body):
    kind = BODIES.get(body)
    config = dataclasses.replace(SMALL, body=body, pretraining=sorted(kind.objectives)[0])
    model, batch = model_of(schema, config).eval(), batch_of([5, 3], 5)
    with torch.no_grad():
        before = model.query(batch)
        fill(model.content, seed=2)
        assert not torch.allclose(model.query(batch), before)


def test_weights_are_drawn_as_before_where_there_is_no_table(schema):
    torch.manual_seed(0)
    plain = SessionModel(SMALL, schema).state_dict()
    torch.manual_seed(0)
    dropping = SessionModel(SMALL, schema, id_dropout=0.3).state_dict()
    assert plain.keys() == dropping.keys()
    assert all(torch.equal(value, dropping[name]) for name, value in plain.items())

"""Language models over items: the bundle's answers against the model's own on the bare session."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nvtabular import ops
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from export.tests.support.items_shop import ITEMS, STRINGS, Asked, agrees, clicks, exported, fit
from nextitem_export import UnsupportedModel
from nextitem_export.adapters import from_hugging_face

#: Tokens of the items; of the others one is the mask.
TOKENS = [7, 3, 12, 5, 9, 2, 11, 4, 10]
MASK, VOCABULARY = 1, 14
ROWS = dict(zip(STRINGS.tolist(), TOKENS, strict=True))


def bert(**changes) -> BertForMaskedLM:
    torch.manual_seed(0)
    settings = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, hidden_size=8, **(settings | changes)))
    torch.nn.init.normal_(model.cls.predictions.bias)  # which is 0 before training
    return model


def distilbert() -> DistilBertForMaskedLM:
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=8, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=8
    )
    return DistilBertForMaskedLM(config)


def gpt2(kind: type[GPT2LMHeadModel] = GPT2LMHeadModel, **changes) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return kind(GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=2, n_head=2, n_positions=8, **changes))


class Capped(GPT2LMHeadModel):
    """Scores that are no product."""

    def forward(self, *arguments, **more):
        scores, *rest = super().forward(*arguments, **more)
        return torch.tanh(scores), *rest


def own(model, session) -> dict:
    """The model's scores by raw id for the bare session, without padding."""
    masked = type(model).__name__.endswith("ForMaskedLM")
    tokens = [ROWS[item] for item in session] + [MASK] * masked
    with torch.no_grad():
        scores = model.eval()(input_ids=torch.tensor([tokens]), return_dict=False)[0][0, -1].numpy()
    return {item: scores[token] for item, token in ROWS.items()}


def ask(model, folder, *, options, **arguments) -> Asked:
    frame = clicks(STRINGS)
    workflow = fit(["item_id"] >> ops.Categorify(out_path=str(folder / "c")), frame)
    mask = MASK if type(model).__name__.endswith("ForMaskedLM") else None
    adapted = from_hugging_face(model, ROWS, mask_row=mask, **arguments)
    return Asked(folder / "repository", workflow, frame, adapted, **options)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (bert, {}),
        (lambda: bert(attn_implementation="eager"), {"format": "torchscript"}),
        pytest.param(bert, {"format": "onnx_dynamo"}, marks=pytest.mark.slow),
        pytest.param(distilbert, {}, marks=pytest.mark.slow),
        (gpt2, {}),
        pytest.param(gpt2, {"format": "torchscript"}, marks=pytest.mark.slow),
        pytest.param(gpt2, {"format": "onnx_dynamo"}, marks=pytest.mark.slow),
        pytest.param(lambda: gpt2(attn_implementation="eager"), {}, marks=pytest.mark.slow),
        (lambda: gpt2(Capped), {}),
    ],
)
def test_the_bundle_answers_as_the_model_does(model, options, tmp_path):
    model = model()
    asked = ask(model, tmp_path, options=options)
    for session in (STRINGS[[0, 2, 1]], STRINGS[[4]], STRINGS[[5, 3, 0, 8]]):
        agrees(asked(session), own(model, session))
    agrees(asked([STRINGS[0], "never", None, STRINGS[1]]), own(model, STRINGS[[0, 1]]))
    answer = asked(["never", None], [])
    assert answer["status"].tolist() == [["cold"], ["empty"]]
    assert len(set(answer["item_ids"][0][:ITEMS].tolist())) == ITEMS
    assert getattr(model.config, "use_cache", True)  # the user's model is as it was


def test_a_model_that_was_padded_on_the_left_sees_its_items_there(tmp_path):
    model = gpt2()
    asked = ask(model, tmp_path, options={}, padding="left")
    tokens = torch.tensor([[0, 0, ROWS[STRINGS[3]], ROWS[STRINGS[6]]]])
    with torch.no_grad():
        scores = model.eval()(tokens, attention_mask=torch.tensor([[0, 0, 1, 1]])).logits[0, -1].numpy()
    agrees(asked(STRINGS[[3, 6]]), {item: scores[token] for item, token in ROWS.items()})


def test_the_newest_items_are_read_where_the_model_reads_fewer(tmp_path):
    model = bert(max_position_embeddings=4)
    asked = ask(model, tmp_path, options={}, window=3)
    agrees(asked(STRINGS[[5, 3, 0, 8]]), own(model, STRINGS[[3, 0, 8]]))


@pytest.mark.parametrize(
    ("model", "vectors"), [(bert, True), (distilbert, True), (gpt2, True), (lambda: gpt2(Capped), False)]
)
def test_scores_that_are_a_product_become_a_query_and_a_table(model, vectors):
    model = model()
    mask = MASK if type(model).__name__.endswith("ForMaskedLM") else None
    adapted = from_hugging_face(model, ROWS, mask_row=mask)
    assert hasattr(adapted, "query") == vectors
    assert type(adapted).__name__ == type(model).__name__
    items = torch.tensor([[7, 3, 12, -1], [5, -1, -1, -1]])
    adapted.bind("items")
    with torch.no_grad():
        scores = adapted.query({"items": items}) @ adapted.item_table().T if vectors else adapted({"items": items})
    for row, session in zip(scores.numpy(), ([0, 1, 2], [3]), strict=True):
        right = own(model, STRINGS[session])
        np.testing.assert_allclose(row[TOKENS], list(right.values()), atol=1e-5)


def test_more_places_than_positions_are_refused(tmp_path):
    with pytest.raises(
        UnsupportedModel, match=r"BertForMaskedLM has 4 positions, .* give window=3 to from_hugging_face"
    ):
        ask(bert(max_position_embeddings=4), tmp_path, options={})


@pytest.mark.parametrize(
    ("model", "arguments", "part"),
    [
        (bert, {}, "BertForMaskedLM predicts masked tokens: give mask_row"),
        (gpt2, {"mask_row": 1}, "mask_row is 1, and GPT2LMHeadModel predicts the next token"),
        (bert, {"mask_row": 7}, "mask_row is 7, and an item of rows has it"),
        (lambda: torch.nn.Linear(1, 1), {}, "the model is Linear, expected a language model of Transformers"),
    ],
)
def test_a_model_that_is_asked_in_another_way_is_refused(model, arguments, part):
    with pytest.raises(UnsupportedModel) as caught:
        from_hugging_face(model(), ROWS, **arguments)
    assert part in str(caught.value)


def test_a_model_without_a_row_for_an_item_is_refused(tmp_path):
    frame = clicks(STRINGS)
    workflow = fit(["item_id"] >> ops.Categorify(out_path=str(tmp_path / "c")), frame)
    rows = ROWS | {STRINGS[0]: VOCABULARY}
    with pytest.raises(UnsupportedModel, match="GPT2LMHeadModel has the rows 0 to 13"):
        exported(tmp_path / "repository", workflow, frame, from_hugging_face(gpt2(), rows))

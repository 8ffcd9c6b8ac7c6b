"""Records models of Transformers4Rec and their answers, in its own environment; the weights are drawn, not trained.

python -m training.tests.importing.record
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
import transformers4rec.torch as tr
from merlin.schema.io.tensorflow_metadata import TensorflowMetadata
from safetensors.torch import save_file
from transformers4rec.config.transformer import BertConfig

from training.tests.support.importing_shop import CATEGORY, ITEM, PRICE, RATING, WINDOW, features, fit, interactions

RECORDED = Path(__file__).with_name("recorded")
WIDTH = 8
#: What models read beside items.
COLUMNS = {"bert_side": (CATEGORY, PRICE, RATING), "xlnet_readme": (CATEGORY, PRICE), "xlnet_soft": (PRICE, RATING)}
COLUMNS |= {"xlnet_sum": (CATEGORY, PRICE), "xlnet_multi": (CATEGORY, PRICE)}


def inputs(schema, masking, *names, **more):
    """The input block over these columns."""
    return tr.TabularSequenceFeatures.from_schema(
        schema.select_by_name([ITEM, *names]),
        max_sequence_length=WINDOW,
        embedding_dim_default=WIDTH,
        masking=masking,
        aggregation="concat",
        **more,
    )


def summed(schema, aggregation):
    """A model whose inputs are added up, in one of Transformers4Rec's ways."""
    inputs = tr.TabularSequenceFeatures.from_schema(
        schema.select_by_name([ITEM, CATEGORY, PRICE]),
        max_sequence_length=WINDOW,
        embedding_dim_default=WIDTH,
        continuous_soft_embeddings=True,
        soft_embedding_dim_default=WIDTH,
        aggregation=aggregation,
        masking="mlm",
    )
    inputs.aggregation.schema.item_id_column_name = ITEM  # which Merlin's own schema does not know
    config = tr.XLNetConfig.build(d_model=WIDTH, n_head=2, n_layer=1, total_seq_length=WINDOW)
    return config.to_torch_model(inputs, tr.NextItemPredictionTask(weight_tying=True, metrics=[]))


def models(schema) -> dict[str, tr.Model]:
    """By name; each name is that of a test's case."""
    xlnet = tr.XLNetConfig.build(d_model=WIDTH, n_head=2, n_layer=2, total_seq_length=WINDOW)
    small = tr.XLNetConfig.build(d_model=WIDTH, n_head=2, n_layer=1, total_seq_length=WINDOW)
    gpt2 = tr.GPT2Config.build(d_model=WIDTH, n_head=2, n_layer=2, total_seq_length=WINDOW)
    bert = BertConfig.build(
        d_model=12, n_head=2, n_layer=1, total_seq_length=WINDOW, intermediate_size=20, hidden_act="relu"
    )
    electra = tr.ElectraConfig.build(d_model=WIDTH, n_head=2, n_layer=1, total_seq_length=WINDOW)
    albert = tr.AlbertConfig.build(d_model=WIDTH, n_head=2, n_layer=2, total_seq_length=WINDOW)
    tied = tr.NextItemPredictionTask(weight_tying=True, metrics=[])
    dims = {ITEM: WIDTH, CATEGORY: 4}

    def sequential(block, *rest):
        return tr.SequentialBlock(block, *rest[:-1], tr.TransformerBlock(rest[-1], masking=block.masking))

    side = inputs(schema, "mlm", *COLUMNS["bert_side"], d_output=12, continuous_projection=6, embedding_dims=dims)
    raw = inputs(schema, "causal", *COLUMNS["xlnet_readme"], embedding_dims=dims)
    soft = inputs(schema, "clm", *COLUMNS["xlnet_soft"], continuous_soft_embeddings=True, d_output=WIDTH)
    return {
        "xlnet_mlm": xlnet.to_torch_model(inputs(schema, "mlm"), tied),
        "xlnet_plm": xlnet.to_torch_model(
            inputs(schema, "plm"), tr.NextItemPredictionTask(weight_tying=True, metrics=[])
        ),
        "gpt2_clm": gpt2.to_torch_model(
            inputs(schema, "clm"), tr.NextItemPredictionTask(metrics=[], softmax_temperature=0.5)
        ),
        "bert_side": sequential(side, bert).to_model(tr.NextItemPredictionTask(weight_tying=True, metrics=[])),
        "xlnet_readme": sequential(raw, tr.MLPBlock([WIDTH]), xlnet).to_model(
            tr.NextItemPredictionTask(weight_tying=True, metrics=[])
        ),
        "xlnet_soft": small.to_torch_model(soft, tr.NextItemPredictionTask(weight_tying=True, metrics=[])),
        "electra_rtd": electra.to_torch_model(
            inputs(schema, "rtd"), tr.NextItemPredictionTask(metrics=[], task_block=tr.MLPBlock([6, 5]))
        ),
        "albert_mlm": albert.to_torch_model(
            inputs(schema, "mlm"), tr.NextItemPredictionTask(weight_tying=True, metrics=[])
        ),
        "xlnet_sum": summed(schema, "element-wise-sum"),
        "xlnet_multi": summed(schema, "element-wise-sum-item-multi"),
    }


@torch.no_grad()
def scores(model: tr.Model, rows) -> torch.Tensor:
    """The model's own, float32 [B, V], of sessions that are padded to the longest of them."""
    steps = max(len(row[ITEM]) for row in rows)
    batch = {
        name: torch.stack(
            [torch.nn.functional.pad(torch.from_numpy(row[name]), (0, steps - len(row[name]))) for row in rows]
        )
        for name in rows[0]
    }
    return model(batch, training=False, testing=False)


def main() -> None:
    """Write the schema, each model's weights, and its scores on padded and on trimmed sessions."""
    frame = interactions()
    with tempfile.TemporaryDirectory() as folder:
        workflow = fit(frame, Path(folder))
        ids, rows = features(workflow, frame)
    schema = workflow.output_schema.excluding_by_name(["session_id"])
    RECORDED.mkdir(exist_ok=True)
    full = max(range(len(rows)), key=lambda row: len(rows[row][ITEM]))
    assert len(rows[full][ITEM]) == WINDOW
    for seed, (name, model) in enumerate(models(schema).items()):
        torch.manual_seed(seed)
        for parameter in dict.fromkeys(model.parameters()):
            parameter.data.normal_(std=0.4)
        model.eval()
        weights = {key: weight.clone().contiguous() for key, weight in model.state_dict().items()}
        save_file(weights, RECORDED / f"{name}.safetensors")
        columns = schema.select_by_name([ITEM, *COLUMNS.get(name, ())])
        TensorflowMetadata.from_merlin_schema(columns).to_proto_text_file(str(RECORDED), f"{name}.pbtxt")
        asked = rows[:20]
        padded = scores(model, [*asked, rows[full]])[:-1]
        trimmed = torch.cat([scores(model, [row]) for row in asked])
        answers = {
            "sessions": ids[:20],
            **{
                mask: [[round(float(value), 5) for value in row] for row in found]
                for mask, found in (("original", padded), ("proper", trimmed))
            },
        }
        (RECORDED / f"{name}.json").write_text(json.dumps(answers) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

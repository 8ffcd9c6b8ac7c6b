"""Which body a state dict holds, of what measures, and its weights under our names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from nextitem_training.errors import CheckpointError
from nextitem_training.importing.weights import Weights

#: A weight that no other body has, or none before it here.
_SIGNS: Mapping[str, str] = {
    "xlnet": "layer.0.rel_attn.q",
    "gpt2": "h.0.attn.c_attn.weight",
    "albert": "encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight",
    "longformer": "encoder.layer.0.attention.self.query_global.weight",
    "convbert": "encoder.layer.0.attention.self.key_conv_attn_layer.depthwise.weight",
    "megatron_bert": "encoder.ln.weight",
    "deberta": "encoder.layer.0.attention.self.in_proj.weight",
    "reformer": "encoder.layers.0.attention.layer_norm.weight",
    "transformer_xl": "layers.0.dec_attn.qkv_net.weight",
    "bert": "encoder.layer.0.attention.self.query.weight",
}
#: Those whose weights say that they are BERT's and not what is different in how they count positions.
_LIKE_BERT = ("bert", "electra", "roberta")
SUPPORTED = ("albert", "bert", "electra", "gpt2", "roberta", "xlnet")
#: T4RecConfig's, of the layer normalisations; GPT2Config gives it to GPT-2 by a name that GPT-2 does not know.
LAYER_NORM_EPS = dict.fromkeys(SUPPORTED, 0.03) | {"gpt2": 1e-5}
_POSITIONS = ("embeddings.position_embeddings.weight", "wpe.weight")
#: Read by nobody where inputs come embedded and each step is asked for itself.
_UNUSED = (
    "word_embedding.weight", "wte.weight", "embeddings.word_embeddings.weight", "embeddings.position_ids",
    "pooler.dense.weight", "pooler.dense.bias", "pooler.weight", "pooler.bias",
)  # fmt: skip


@dataclass(frozen=True)
class BodyShape:
    """A body's name and measures."""

    name: str
    d_model: int
    heads: int
    layers: int
    inner: int
    """Width of the feed-forward layers."""


def body_shape(weights: Weights, prefix: str, *, body: str, heads: int, layers: int) -> BodyShape:
    """Reads what weights tell; body, heads and layers are what the user says, empty or 0 where nothing.

    Raises CheckpointError where the body is none that can be taken over, or what no weight tells is missing.
    """
    found = next((name for name, sign in _SIGNS.items() if prefix + sign in weights), None)
    if found == "bert":
        pooled = f"{prefix}pooler.dense.weight" in weights
        if pooled and body not in _LIKE_BERT:
            raise CheckpointError(
                f"The body's weights are those of BERT and of RoBERTa alike{_said(body)}; say which with --body bert or --body "
                "roberta."
            )
        found = body if body in _LIKE_BERT else "electra"
    if found not in SUPPORTED:
        what = (
            f"the body '{found}'"
            if found
            else f"no body that is known here ({', '.join(weights.children(prefix)[:5])})"
        )
        raise CheckpointError(
            f"The state dict has {what}; those taken over are {', '.join(SUPPORTED)}. Export the model where Transformers4Rec "
            "is installed, by nextitem_export.adapters.from_transformers4rec."
        )
    if body and body != found:
        raise CheckpointError(f"--body is '{body}', but the state dict has the body '{found}'; leave --body away.")
    sign = prefix + _SIGNS["bert" if found in _LIKE_BERT else found]
    width, told = weights.shape(sign)[0], 0
    if found == "xlnet":
        width, told, head_width = weights.shape(sign)
        if told * head_width != width:
            raise CheckpointError(
                f"XLNet has {told} heads of width {head_width} for d_model {width}, which is not taken over."
            )
    if heads and told and heads != told:
        raise CheckpointError(f"--heads is {heads}, but the weights have {told} heads; leave --heads away.")
    if not (heads or told):
        raise CheckpointError(
            f"No weight of the body '{found}' tells its attention heads; say them with --heads (n_head of the configuration)."
        )
    inner = {
        "xlnet": ("layer.0.ff.layer_1.weight", 0),
        "gpt2": ("h.0.mlp.c_fc.weight", 1),
        "albert": ("encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", 0),
    }.get(found, ("encoder.layer.0.intermediate.dense.weight", 0))
    return BodyShape(
        name=found,
        d_model=width,
        heads=heads or told,
        layers=_layers(weights, prefix, found, layers),
        inner=weights.shape(prefix + inner[0])[inner[1]],
    )


def _said(body: str) -> str:
    return f", and --body is '{body}'" if body else ""


def _layers(weights: Weights, prefix: str, body: str, said: int) -> int:
    if body == "albert":
        if not said:
            raise CheckpointError(
                "ALBERT's layers share their weights, which do not tell how many there are; say it with --layers (n_layer of "
                "the configuration)."
            )
        return said
    counted = len(weights.children(prefix + {"xlnet": "layer.", "gpt2": "h."}.get(body, "encoder.layer.")))
    if said and said != counted:
        raise CheckpointError(f"--layers is {said}, but the weights have {counted} layers; leave --layers away.")
    return counted


def body_weights(weights: Weights, prefix: str, body: nn.Module) -> dict[str, torch.Tensor]:
    """A body's weights by our names. Raises CheckpointError where one is missing or of another shape."""
    weights.ignore(*(prefix + name for name in _UNUSED))
    found = {}
    for name, ours in body.state_dict().items():
        there = name.split(".", 1)[1]  # without our name of the library's model
        if prefix + there not in weights:
            raise CheckpointError(
                f"The state dict lacks the body's '{there}'; it comes from another version of its library."
            )
        weight = weights[prefix + there]
        if there in _POSITIONS:
            if len(weight) < len(ours):
                raise CheckpointError(
                    f"The body knows {len(weight)} positions, and the window needs {len(ours)}; give a --window that is "
                    f"{len(ours) - len(weight)} shorter."
                )
            weight = weight[: len(ours)]
        found[name] = weight
    return found

"""The shape of a model of Transformers4Rec, read by name from its state dict, and its weights under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from nextitem_training.config.imported import Activation, ImportedConfig
from nextitem_training.config.inputs import CONCAT, ITEM_MULTIPLIED_SUM, SUM, Aggregation
from nextitem_training.errors import CheckpointError
from nextitem_training.importing.bodies import BodyShape, body_shape
from nextitem_training.importing.told import Told
from nextitem_training.importing.weights import Weights

_INPUTS = "body.0."
_TABLES = f"{_INPUTS}to_merge.categorical_module.embedding_tables."
_NUMBERS = f"{_INPUTS}to_merge.continuous_module."
_MASK = f"{_INPUTS}_masking.masked_item_embedding"
_TASKS = "prediction_task_dict."
_NORM = re.compile(r"\w+\.post(?:\.\d+)?\.feature_layer_norm\.([^.]+)\.(weight|bias)")
#: What Transformers4Rec calls its projection of all numbers, among the features that it joins.
_PROJECTED = "continuous_projection"
#: Its names of ways to join, and ours.
AGGREGATIONS: Mapping[str, Aggregation] = {
    "concat": CONCAT,
    "element-wise-sum": SUM,
    "element-wise-sum-item-multi": ITEM_MULTIPLIED_SUM,
}


@dataclass
class ModelShape:
    """What a state dict says of its model.

    categorical: the features' names, the item's first. numbers: of the others. imported: all but the columns. transformer: what
    the body's names begin with. loads: weights by our names, without the body's.
    """

    categorical: tuple[str, ...]
    numbers: tuple[str, ...]
    aggregation: Aggregation
    body: BodyShape
    imported: ImportedConfig
    transformer: str
    loads: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Layers:
    """Linear layers one after another. linear: they are one without an activation."""

    sizes: tuple[int, ...]
    first: int
    linear: bool

    def activation(self, said: Activation) -> Activation:
        return "none" if self.linear else said


def model_shape(weights: Weights, schema: Mapping[str, frozenset[str]], told: Told) -> ModelShape:
    """Reads the shape.

    Args:
        weights: of one head of the model.
        schema: the tags of each column that the model was built from.
        told: what the user says beside.

    Raises CheckpointError where the weights are of a model that cannot be taken over, or where something is missing that
    no weight tells.
    """
    loads: dict[str, torch.Tensor] = {}
    categorical = _categorical(weights, schema)
    for place, name in enumerate(categorical):
        loads[f"inputs.embeddings.{place}.weight"] = weights[f"{_TABLES}{name}.weight"]
    widths = [weights.shape(f"{_TABLES}{name}.weight")[1] for name in categorical]
    if _MASK not in weights:
        raise CheckpointError(f"The state dict has no '{_MASK}': a model without masking predicts no next item.")
    loads["objective.placeholder"] = weights[_MASK]
    projection = _layers(weights, f"{_INPUTS}projection_module.", "inputs.projection", loads)
    joined = projection.first or len(weights[_MASK])
    number_layers = _layers(weights, f"{_NUMBERS}1.", "inputs.numbers", loads)
    soft = sorted(weights.children(f"{_NUMBERS}embedding_tables."))
    numbers = tuple(soft) or _numbers(schema, number_layers.first or max(0, joined - sum(widths)))
    _soft_one_hot(weights, numbers if soft else (), loads)
    soft_counts = [len(loads[f"inputs.mixtures.{place}.table"]) for place in range(len(soft))]
    soft_widths = [loads[f"inputs.mixtures.{place}.table"].shape[1] for place in range(len(soft))]
    vectors = [*categorical, *([_PROJECTED] if number_layers.sizes else numbers)]
    widths_of_all = [*widths, *(number_layers.sizes[-1:] or soft_widths or [1] * len(numbers))]
    normalized = _normalized(weights, vectors, loads)
    blocks = [int(place) for place in weights.children("body.")]
    transformers = [place for place in blocks if weights.below(f"body.{place}.transformer.")]
    if len(transformers) != 1:
        raise CheckpointError(
            f"The state dict has {len(transformers)} transformers in its body, expected is one. Export the model where "
            "Transformers4Rec is installed, by nextitem_export.adapters.from_transformers4rec."
        )
    transformer = transformers[0]
    before = _layers(weights, [f"body.{place}." for place in blocks if 0 < place < transformer], "before_body", loads)
    body = body_shape(weights, f"body.{transformer}.transformer.", body=told.body, heads=told.heads, layers=told.layers)
    task = _task(weights)
    after = _layers(weights, f"{_TASKS}{task}.task_block.", "after_body", loads)
    if after.sizes and not after.linear and not told.task_activation:
        raise CheckpointError(
            "No weight tells the activation behind the task's layers; say it with --task-activation (none where "
            "weight_tying made the layer, relu where task_block is an MLPBlock without another)."
        )
    output = f"{_TASKS}{task}.pre.module.output_layer"
    tied = output not in weights
    if not tied:
        loads["output_table"] = weights[output]
    return ModelShape(
        categorical=categorical,
        numbers=numbers,
        aggregation=_aggregation(widths_of_all, joined, told.aggregation),
        body=body,
        transformer=f"body.{transformer}.transformer.",
        imported=ImportedConfig(
            widths=tuple(widths),
            order=tuple(sorted(range(len(vectors)), key=vectors.__getitem__)),
            number_layers=number_layers.sizes,
            number_activation=number_layers.activation(told.mlp_activation),
            soft_counts=tuple(soft_counts),
            soft_widths=tuple(soft_widths),
            normalized=normalized,
            projection=projection.sizes,
            projection_activation=projection.activation(told.mlp_activation),
            before_body=before.sizes,
            before_activation=before.activation(told.mlp_activation),
            body_width=body.inner,
            body_activation=told.activation,
            body_attention=told.body_attention(body.name),
            after_body=after.sizes,
            after_activation=after.activation(told.task_activation or "none"),
            tied=tied,
        ),
        loads=loads,
    )


def _categorical(weights: Weights, schema: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    tables = weights.children(_TABLES)
    items = [name for name in tables if "item_id" in schema.get(name, ())]
    if len(items) != 1:
        raise CheckpointError(
            f"The state dict embeds {', '.join(tables) or 'nothing'}, of which the schema tags {', '.join(items) or 'none'} as "
            "item_id, expected is one: give the schema that the model was built from."
        )
    return (items[0], *sorted(name for name in tables if name != items[0]))


def _numbers(schema: Mapping[str, frozenset[str]], count: int) -> tuple[str, ...]:
    """The continuous columns, of which the model reads so many."""
    known = sorted(name for name, tags in schema.items() if "continuous" in tags and "embedding" not in tags)
    if count not in (0, len(known)):
        raise CheckpointError(
            f"The model reads {count} continuous columns by its weights' shapes, and the schema has {len(known)} "
            f"({', '.join(known)}): give the schema that the model was built from, with the columns that it reads."
        )
    return tuple(known) if count else ()


def _layers(weights: Weights, prefixes: str | list[str], ours: str, loads: dict[str, torch.Tensor]) -> _Layers:
    """Reads MLPBlocks, or one linear layer, into `loads` under our name."""
    named = [
        name for prefix in ([prefixes] if isinstance(prefixes, str) else prefixes) for name in _linears(weights, prefix)
    ]
    for place, name in enumerate(named):
        weight = weights[f"{name}weight"]
        bias = weights[f"{name}bias"] if f"{name}bias" in weights else torch.zeros(len(weight))
        loads |= {f"{ours}.{place}.0.weight": weight, f"{ours}.{place}.0.bias": bias}
    shapes = [weights.shape(f"{name}weight") for name in named]
    linear = [prefixes] == named
    return _Layers(tuple(shape[0] for shape in shapes), shapes[0][1] if shapes else 0, linear)


def _linears(weights: Weights, prefix: str) -> list[str]:
    if f"{prefix}weight" in weights:
        return [prefix]
    blocks = (f"{prefix}{place}.0." for place in weights.children(prefix) if place.isdecimal())
    return [name for name in blocks if f"{name}weight" in weights]


def _soft_one_hot(weights: Weights, names: tuple[str, ...], loads: dict[str, torch.Tensor]) -> None:
    for place, name in enumerate(names):
        there, here = f"{_NUMBERS}embedding_tables.{name}", f"inputs.mixtures.{place}"
        loads[f"{here}.table"] = weights[f"{there}.embedding_table.weight"]
        loads[f"{here}.projection.weight"] = weights[f"{there}.projection_layer.weight"]
        loads[f"{here}.projection.bias"] = weights[f"{there}.projection_layer.bias"]


def _normalized(weights: Weights, vectors: list[str], loads: dict[str, torch.Tensor]) -> tuple[int, ...]:
    """The places of the vectors that TabularLayerNorm normalises, read into `loads`."""
    found = set()
    for name in weights.below(f"{_INPUTS}to_merge."):
        match = _NORM.fullmatch(name)
        if match and match[1] in vectors:
            place = vectors.index(match[1])
            found.add(place)
            loads[f"inputs.norms.{place}.{match[2]}"] = weights[f"{_INPUTS}to_merge.{name}"]
    return tuple(sorted(found))


def _aggregation(widths: list[int], joined: int, said: str) -> Aggregation:
    """How vectors of these widths become one of width `joined`."""
    if said:
        return AGGREGATIONS[said]
    if sum(widths) == joined:
        return CONCAT
    if set(widths) != {joined}:
        raise CheckpointError(
            f"The features' vectors have the widths {', '.join(map(str, widths))}, and what they become has {joined}: "
            "neither side by side nor added up. Give the schema that the model was built from."
        )
    raise CheckpointError(
        "The features' vectors are added up, and no weight tells how; say it with --aggregation element-wise-sum or "
        "--aggregation element-wise-sum-item-multi."
    )


def _task(weights: Weights) -> str:
    """The name of the next-item task."""
    tasks = weights.children(_TASKS)
    own = [task for task in tasks if f"{_TASKS}{task}.pre.module.output_layer" in weights]
    return next((task for task in (*own, "next-item") if task in tasks), tasks[0] if len(tasks) == 1 else "next-item")

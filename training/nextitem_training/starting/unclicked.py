"""The items of the items table that nobody clicked: what a trained model and its workflow have to know of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from nextitem_training import workflow
from nextitem_training.config import Config
from nextitem_training.inputs.pretrained import PretrainedItems
from nextitem_training.items.catalogue import FittedItems
from nextitem_training.items.vocabulary import extend_vocabulary
from nextitem_training.model import SessionModel
from nextitem_training.schema import SessionSchema
from nextitem_training.special_ids import FIRST_KNOWN
from nextitem_training.starting.encoding import Encoded
from nextitem_training.tables.vectors import PretrainedVectors

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster


def with_unclicked(
    model: SessionModel,
    encoded: Encoded,
    items: FittedItems,
    config: Config,
    held_out: pd.DataFrame,
    storage: Path,
    cluster: Cluster | None = None,
    pretrained: PretrainedVectors | None = None,
) -> tuple[SessionModel, Encoded]:
    """The trained model and its workflow with the table's items that nobody clicked, behind all others.

    An id that training never saw says nothing: what such an item is comes from its attributes. Its bias is the mean of all
    others'.

    Args:
        held_out: raw rows, which are encoded anew, since they may have such items.
        storage: a folder for the longer vocabulary.
        pretrained: [inputs] pretrained_items, which may have vectors of such items.
    """
    column = encoded.schema.item_column
    values = workflow.vocabulary(encoded.fitted.served, column).values
    new = items.unclicked(values)
    if not len(new):
        return model, encoded
    extend_vocabulary(encoded.fitted, column, new, storage)
    schema = _larger(encoded.schema, len(new))
    larger = extended(model, config, schema)
    items.fill(larger, np.concatenate([values, new]))
    if pretrained is not None and isinstance(larger.inputs.pretrained, PretrainedItems):
        larger.inputs.pretrained.fill_from(schema.item_count - len(new), pretrained.rows(np.concatenate([values, new])))
    return larger.eval(), dataclasses.replace(
        encoded,
        schema=schema,
        held_out=workflow.encode(encoded.fitted.whole, held_out, schema, cluster, config.data.targets),
        counts=np.concatenate([encoded.counts, np.zeros(len(new), encoded.counts.dtype)]),
    )


def _larger(schema: SessionSchema, more: int) -> SessionSchema:
    features = tuple(
        dataclasses.replace(feature, cardinality=schema.item_count + more)
        if feature.name == schema.item_feature
        else feature
        for feature in schema.features
    )
    return dataclasses.replace(schema, features=features)


def extended(model: SessionModel, config: Config, schema: SessionSchema) -> SessionModel:
    """The model with more items: zeros for their ids, the mean for their biases; attributes are to be filled in."""
    larger = SessionModel.of(config, schema)
    state = larger.state_dict()
    for name, weight in model.state_dict().items():
        if weight.shape == state[name].shape:
            state[name] = weight
            continue
        rows = torch.zeros_like(state[name])
        rows[: len(weight)] = weight
        if name == "item_bias":
            rows[len(weight) :] = weight[FIRST_KNOWN:].mean()
        state[name] = rows
    larger.load_state_dict(state)
    return larger

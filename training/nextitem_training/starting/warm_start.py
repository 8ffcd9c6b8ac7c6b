"""Starts a model from an older run, whose vocabularies were other ones.

Codes are given by frequency, so that the same item has another code in each run. Rows of embeddings are carried over by the raw
value that they stand for, everything else as it is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from nextitem_training.config import Config, HeadConfig, ItemsConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import ConfigError
from nextitem_training.model import SessionModel
from nextitem_training.run_directory import RunDirectory
from nextitem_training.schema import CATEGORICAL, SessionSchema
from nextitem_training.special_ids import FIRST_KNOWN
from nextitem_training.starting.pretrained_items import read_pretrained
from nextitem_training.workflow import vocabulary

if TYPE_CHECKING:
    import nvtabular as nvt

_SAME = ("body", "pretraining", "compat", "d_model", "layers", "heads", "side_width", "generator_share", "item_bias")
_SAME_INPUTS = ("aggregation", "soft_one_hot", "soft_one_hot_count", "layer_norm", "pretrained_width", "pretrained_as")
_ITEM_BIAS = "item_bias"
_PRETRAINED = "inputs.pretrained.vectors"
_OUTPUT_TABLE = "output_table"
_CONTENT = "inputs.content."
#: What the items table says of the new run's items.
_ATTRIBUTES = tuple(f"{_CONTENT}{name}" for name in ("codes", "numbers", "vectors", "bags."))


@dataclass(frozen=True)
class CarriedOver:
    """How the items of the new vocabulary began."""

    items: int
    carried: int
    """With the old run's embedding."""
    from_group: int
    """New, with the mean of their group's."""
    gone: int
    """Items of the old run that the new one does not have."""


def as_imported(config: Config, path: str | Path) -> Config:
    """The configuration with the model of the run at `path`, where nextitem-import made that: no file says its shape.

    Raises RunDirectoryError where there is no run.
    """
    there = RunDirectory.open(path).config
    if not there.imported.columns:
        return config
    return dataclasses.replace(config, model=there.model, inputs=there.inputs, imported=there.imported)


class WarmStart:
    """An older run to start from."""

    def __init__(self, path: str | Path, config: Config) -> None:
        """Opens the run.

        Raises RunDirectoryError where it is none or its weights are not finite, and ConfigError where its model is of another
        make than `config` asks for.
        """
        self.run = RunDirectory.open(path)
        self.run.load_weights()  # not kept: that they can be used is asked before the work begins
        ours, theirs = config.model, self.run.config.model
        differing = {name: (getattr(theirs, name), getattr(ours, name)) for name in _SAME}
        # A configuration that training has not completed yet does not know the width.
        known = config if config.inputs.pretrained_width else read_pretrained(config)[0]
        theirs, ours = self.run.config.inputs, known.inputs
        differing |= {name: (getattr(theirs, name), getattr(ours, name)) for name in _SAME_INPUTS}
        differing["window"] = (self.run.config.data.window, config.data.window)
        differing["items"] = (_learnt_of(self.run.config.items), _learnt_of(config.items))
        differing["imported"] = (self.run.config.imported, config.imported)
        differing = {name: both for name, both in differing.items() if both[0] != both[1]}
        if differing:
            raise ConfigError(
                f"The run {path} cannot be started from, since its model is another one: "
                + "; ".join(f"{name} is {old!r} there and {new!r} here" for name, (old, new) in differing.items())
                + ". Set these as they are there, or train without --init-from."
            )
        self._config = config
        self._group = config.data.item_group or next(iter(config.data.categorical), "")

    def carry_over(
        self,
        model: SessionModel,
        schema: SessionSchema,
        workflow: nvt.Workflow,
        training: EncodedSessions,
        items_workflow: nvt.Workflow | None = None,
    ) -> CarriedOver:
        """Puts the old run's weights into a new model.

        Heads go on with their old weights and statistics where they are as they were, and begin anew where not; frozen
        pretrained vectors are those that the new run was given.

        Args:
            model, schema, workflow: the new run's; the model as it was initialised and prepared.
            training: the new run's encoded sessions, from which an item's group is read.
            items_workflow: the new run's, where its items table has attributes.

        Raises ConfigError where the features or the items' type are other ones.
        """
        self._check_features(schema)
        old, old_workflow = self.run.load_model(), self.run.load_workflow()
        state = model.state_dict()
        names = [feature.name for feature in schema.features if feature.kind == CATEGORICAL]
        places = {f"inputs.embeddings.{place}.weight": name for place, name in enumerate(names)}
        places |= dict.fromkeys((_ITEM_BIAS, _PRETRAINED, _OUTPUT_TABLE), schema.item_feature)
        columns = self._columns()
        table = next(key for key, name in places.items() if name == schema.item_feature)
        carried = CarriedOver(0, 0, 0, 0)
        attributes, old_items = _places_of_attributes(schema), self.run.load_items_workflow()
        for key, weight in self._with_heads_in_place(old.state_dict()).items():
            if key.startswith(_ATTRIBUTES):
                continue
            if key in attributes:
                _carry_attribute(state[key], weight, attributes[key], items_workflow, old_items)
                continue
            if key not in places:
                state[key] = weight
                continue
            if key == _PRETRAINED and self._config.inputs.pretrained_frozen:
                continue
            name = places[key]
            old_values = vocabulary(old_workflow, columns[schema.feature_names.index(name)]).values
            rows = _old_rows(vocabulary(workflow, name).values, old_values, name)
            known = rows >= 0
            state[key][:FIRST_KNOWN] = weight[:FIRST_KNOWN]
            state[key][FIRST_KNOWN:][torch.from_numpy(known)] = weight[FIRST_KNOWN:][rows[known]]
            if key in (table, _ITEM_BIAS, _OUTPUT_TABLE):
                grouped = 0
                if model.content is None:
                    grouped = self._start_from_groups(state[key], known, schema, training)
                elif key == table:  # new items are what their content says
                    state[key][FIRST_KNOWN:][torch.from_numpy(~known)] = 0
                carried = CarriedOver(
                    len(rows), int(known.sum()), grouped, len(weight) - FIRST_KNOWN - int(known.sum())
                )
        model.load_state_dict(state)
        return carried

    def _with_heads_in_place(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The old weights, those of heads where the new model has them; heads that it lacks are left out."""
        here = {_make_of(head): place for place, head in enumerate(self._config.heads)}
        renamed = {key: weight for key, weight in state.items() if not key.startswith("heads.")}
        for place, head in enumerate(self.run.config.heads):
            if _make_of(head) in here:
                begin = f"heads.{place}."
                own = {key.removeprefix(begin): weight for key, weight in state.items() if key.startswith(begin)}
                renamed |= {f"heads.{here[_make_of(head)]}.{key}": weight for key, weight in own.items()}
        return renamed

    def _check_features(self, schema: SessionSchema) -> None:
        here = [(feature.name, feature.kind) for feature in schema.features]
        kinds = (feature.kind for feature in self.run.schema.features)
        there = list(zip(self._columns(), kinds, strict=True))
        if here != there:
            raise ConfigError(
                f"The run {self.run.path} cannot be started from, since its model reads other features: "
                f"{', '.join(name for name, _ in there)}; here they are {', '.join(name for name, _ in here)}. Give them as "
                "they are there, or train without --init-from."
            )

        widths = [schema.items.vectors_width if schema.items else 0 for schema in (self.run.schema, schema)]
        if widths[0] != widths[1]:
            raise ConfigError(
                f"The run {self.run.path} cannot be started from, since its content vectors have {widths[0]} numbers and those "
                f"here {widths[1]}. Give vectors of that width, or train without --init-from."
            )

    def _columns(self) -> tuple[str, ...]:
        """What each of the old run's features is called where nextitem-train makes the workflow: as its column."""
        return self.run.config.imported.columns or self.run.schema.feature_names

    def _start_from_groups(
        self, table: torch.Tensor, known: np.ndarray, schema: SessionSchema, training: EncodedSessions
    ) -> int:
        """Sets new items to the mean of the known items of their group; returns how many there were."""
        if not self._group or known.all():
            return 0
        codes = pd.DataFrame({name: training.features[name] for name in (schema.item_feature, self._group)})
        codes.columns = ["item", "group"]
        codes = codes[(codes["item"] >= FIRST_KNOWN) & (codes["group"] >= FIRST_KNOWN)]
        group: Any = codes.groupby("item")["group"].agg(lambda values: values.mode().iloc[0])
        started = 0
        for members in group.groupby(group).groups.values():
            items = members.to_numpy()
            is_known = known[items - FIRST_KNOWN]
            if is_known.any() and not is_known.all():
                table[items[~is_known]] = table[items[is_known]].mean(dim=0)
                started += int((~is_known).sum())
        return started


def _learnt_of(items: ItemsConfig) -> tuple[str, ...]:
    """What a model learns from the items table."""
    return (*items.attributes, "content vectors") if items.vectors else items.attributes


def _places_of_attributes(schema: SessionSchema) -> dict[str, str]:
    """The attribute that each embedding of the content is of."""
    if schema.items is None:
        return {}
    kinds = {"embeddings": "categorical", "bag_embeddings": "multi_hot"}
    return {
        f"{_CONTENT}{name}.{place}.weight": attribute.name
        for name, kind in kinds.items()
        for place, attribute in enumerate(schema.items.of_kind(kind))
    }


def _carry_attribute(
    new: torch.Tensor, old: torch.Tensor, name: str, workflow: nvt.Workflow | None, old_workflow: nvt.Workflow | None
) -> None:
    """Puts an attribute's rows into the new table, by value."""
    assert workflow is not None
    assert old_workflow is not None
    rows = _old_rows(vocabulary(workflow, name).values, vocabulary(old_workflow, name).values, name)
    known = rows >= 0
    new[:FIRST_KNOWN] = old[:FIRST_KNOWN]
    new[FIRST_KNOWN:][torch.from_numpy(known)] = old[FIRST_KNOWN:][rows[known]]


def _make_of(head: HeadConfig) -> tuple[str, str, str, int]:
    return head.name, head.kind, head.column, head.hidden


def _old_rows(new: np.ndarray, old: np.ndarray, name: str) -> np.ndarray:
    """Where each new value stood in the old vocabulary, int64; -1 where it did not."""
    if len(new) and len(old) and (new.dtype == object) != (old.dtype == object):
        kinds = {True: "strings", False: "integers"}
        raise ConfigError(
            f"The column '{name}' holds {kinds[new.dtype == object]}; in the run to start from it held "
            f"{kinds[old.dtype == object]}, so that no value is the same. Give it as it was, or train without --init-from."
        )
    return pd.Index(old).get_indexer(pd.Index(new))

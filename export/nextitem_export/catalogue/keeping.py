"""What an export keeps, so that the catalogue of its bundle can be updated; or why it cannot be."""

from __future__ import annotations

import dataclasses
import datetime
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import torch
from torch import nn

from nextitem_bundle.manifest import CatalogueSummary
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import CatalogueAge, read_step, write_step

from .._errors import ParityError
from ..layouts.steps import Written
from ..options import ExportOptions
from ..plan import Plan
from ..retrieval.choice import ScoringChoice
from ..retrieval.session_graph import SessionGraph
from .attributes import Attribute, Attributes
from .stored import ENCODER, FOLDER, ITEM_VECTORS, PROGRAM, PROOF, QUERIES, CatalogueSettings, normalized, write_session
from .stored import SESSION as SESSION_FILE
from .tables import Tables
from .vocabulary import looks_items_up

if TYPE_CHECKING:
    from nextitem_training.run_directory import RunDirectory

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none

#: Of a float32's precision: a row and its direction differ by rounding alone.
_RELATIVE = 1e-6
#: What the encoder's inputs may differ by from what NVTabular gave the model.
_CLOSE = 1e-5


#: Operators that give codes where they are given codes, and those that look rows up.
_CARRIES_CODES = (
    "Abs", "Add", "Cast", "Clip", "Concat", "Expand", "Flatten", "Identity", "Max", "Min", "Mul", "Pad", "Reshape", "Slice",
    "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
_LOOKS_UP = ("Gather", "GatherElements", "GatherND")


class Encoder(nn.Module):
    """An ItemContent without its tables: encoded attributes, in the order of `names`, to vectors float32 [N, D]."""

    def __init__(self, content: Any) -> None:
        super().__init__()
        self.content: Any = content
        bags = [f"bag_{place}" for place in range(len(content.bags))]
        parts = {"codes": content.codes, "numbers": content.numbers, "vectors": content.vectors}
        self.names = [
            name for name in ("codes", *bags, "numbers", "vectors") if name in bags or parts[name] is not None
        ]

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """float32 [N, D]."""
        given = dict(zip(self.names, tensors, strict=True))
        bags = [given[name] for name in self.names if name.startswith("bag_")]
        return self.content.encode(given.get("codes"), bags, given.get("numbers"), given.get("vectors"))

    def tables(self) -> dict[str, torch.Tensor]:
        """The attributes of all items, by name."""
        content = self.content
        bags = {f"bag_{place}": bag for place, bag in enumerate(content.bags)}
        parts = {"codes": content.codes, "numbers": content.numbers, "vectors": content.vectors, **bags}
        return {name: parts[name].detach() for name in self.names}


@dataclasses.dataclass(frozen=True)
class RunItems:
    """What a run knows of its items, read before the model is folded.

    Attributes:
        attributes: how they are encoded. rows: the items table by code from 3, [V - 3].
        encoder: of encoded attributes, as `encoder_of` makes it. id_vectors: float32 [V, D].
        tensors: the encoded attributes that the model has, by the encoder's names, [V, …].
    """

    attributes: Attributes
    rows: pa.Table
    encoder: Encoder
    id_vectors: np.ndarray
    tensors: Mapping[str, np.ndarray]


def run_items(run: RunDirectory, model: Any, workflow: Any) -> RunItems | None:
    """What a run knows of its items; None where its model has no content."""
    if model.content is None:
        return None
    ids = run.item_ids(workflow)
    attributes = _attributes_of(run)
    encoder = Encoder(model.content).eval()
    return RunItems(
        attributes=attributes,
        rows=_rows_by_code(run, attributes, ids),
        encoder=encoder,
        id_vectors=model.id_table().detach().numpy().copy(),
        tensors={name: values.numpy().copy() for name, values in encoder.tables().items()},
    )


@dataclasses.dataclass(frozen=True)
class _Embedded:
    """How the session graph has the items: the weight that embeds them, and how queries are compared with it."""

    weight: str
    normalized: bool
    bias: np.ndarray | None


def keep_catalogue(
    plan: Plan,
    options: ExportOptions,
    written: Written,
    items: RunItems | None,
    folder: Path,
    first: Path,
) -> CatalogueSummary:
    """Write `catalogue/` into the version folder of the model that clients call; returns what the manifest says of it.

    Args:
        written: what was written of its steps.
        items: of a run with an items table.
        folder: that version folder.
        first: the version folder of the model that reads requests, whose settings tell the catalogue's age.

    Raises ParityError where attributes would be encoded otherwise than NVTabular encoded them for the model.
    """
    session, program = written.session, written.program
    refused = _refusal(plan, options, session)
    if refused or session is None or program is None:
        return CatalogueSummary(refused=refused)
    embedded = _embedded(plan, session)
    if isinstance(embedded, str):
        return CatalogueSummary(refused=embedded)
    ids = plan.vocabulary.values
    if not looks_items_up(program, ids):
        return CatalogueSummary(
            refused="its workflow changes item ids before it looks them up: encode the raw column with ops.Categorify(), and "
            "export again"
        )
    prove_encoding(items)
    target = folder / FOLDER
    target.mkdir()
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    scoring = ScoringChoice(options.scoring, options.min_recall, first_look=options.accelerator == "none")
    CatalogueSettings(
        created=created,
        session_column=plan.fitted.session_column,
        table=embedded.weight,
        normalized=embedded.normalized,
        features=plan.features,
        item_feature=plan.item_feature,
        scoring=scoring.name,
        min_recall=scoring.min_recall,
        first_look=scoring.first_look,
        threads=options.threads,
    ).save(target)
    vectors = session.weights[embedded.weight]
    Tables(
        ids=ids,
        removed=np.zeros(len(ids), dtype=bool),
        counts=np.asarray(plan.vocabulary.counts, dtype=np.int64),
        id_vectors=vectors if items is None else items.id_vectors,
        bias=embedded.bias,
        rows=None if items is None else items.rows,
    ).save(target)
    write_session(session, embedded.weight, vectors.shape[1], target / SESSION_FILE)
    program.save(target / PROGRAM)
    if items is not None:
        items.attributes.save(target)
        np.save(target / ITEM_VECTORS, vectors, allow_pickle=False)
        write_encoder(items, target / ENCODER)
    np.save(
        target / QUERIES,
        written.queries,
        allow_pickle=False,
    )
    _keep_sessions(plan, options.keep_proof, target / PROOF)
    write_step(first, dataclasses.replace(read_step(first), catalogue=CatalogueAge(len(ids), created)))
    names = () if items is None else tuple(attribute.name for attribute in items.attributes.attributes)
    return CatalogueSummary(items=len(ids), removed=0, attributes=names, created=created)


def _refusal(plan: Plan, options: ExportOptions, session: SessionGraph | None) -> str | None:
    """Why a bundle that is exported so keeps no catalogue, and what to do about it."""
    if options.runtime == "native":
        return "its session model runs on Triton's own backend: export it with ExportOptions(runtime='python')"
    if session is None:
        return "its session model is TorchScript: export it with ExportOptions(format='onnx')"
    if options.features == "nvtabular":
        return "it serves the workflow itself, with the vocabulary in it: export it with ExportOptions(features='compiled')"
    if not plan.item_values.are_codes:
        return "its model counts items by rows of its own: train it on the codes of ops.Categorify(), and export again"
    if not hasattr(plan.model, "query"):
        return "its model gives scores alone: give it query(features) and item_table(), and export again"
    return None


def _embedded(plan: Plan, session: SessionGraph) -> _Embedded | str:
    """How the graph has the items, or why a new one could not be put there."""
    model: Any = plan.ranked_model
    table = model.item_table().detach().float().numpy()
    found = next(filter(None, (_as_compared(name, w, table) for name, w in session.weights.items())), None)
    if found is None:
        return (
            "its model compares queries with other vectors than those that it embeds items by: use one table for both, as "
            "tied weights do"
        )
    others = sorted(_tables_of_items(session, plan.item_tensor, len(table)) - {found.weight})
    if others:
        return (
            f"its session graph looks items up in {len(others)} further tables ({', '.join(others)}), and a new item has to be "
            "put into one: use one embedding of items"
        )
    return found


def _tables_of_items(session: SessionGraph, item_tensor: str, count: int) -> set[str]:
    """The weights of so many rows that are looked up by item codes, also by such that were cast, bounded or cut."""
    codes, tables = {item_tensor}, set()
    for node in session.nodes:
        if node.op_type in _CARRIES_CODES and codes.intersection(node.input):
            codes.update(node.output)
        if node.op_type in _LOOKS_UP and node.input[1] in codes:
            tables.add(node.input[0])
    return {name for name in tables if name in session.weights and len(session.weights[name]) == count}


def _as_compared(name: str, weight: np.ndarray, table: np.ndarray) -> _Embedded | None:
    """How a weight becomes the table that queries are compared with, None where it does not."""
    if weight.ndim != 2 or len(weight) != len(table) or table.shape[1] - weight.shape[1] not in (0, 1):
        return None
    compared, bias = table[:, : weight.shape[1]], table[:, weight.shape[1] :]
    bias = bias[:, 0].copy() if bias.shape[1] else None
    if np.array_equal(weight, compared):
        return _Embedded(name, normalized=False, bias=bias)
    if np.allclose(normalized(weight), compared, rtol=_RELATIVE, atol=_RELATIVE):
        return _Embedded(name, normalized=True, bias=bias)
    return None


def prove_encoding(items: RunItems | None) -> None:
    """Raises ParityError unless attributes are encoded as NVTabular encoded them for the model."""
    if items is None:
        return
    for name, own in items.attributes.encode(items.rows).tensors.items():
        right = items.tensors[name][FIRST_ITEM:]
        width = max(own.shape[1], right.shape[1])  # of a list: behind its values is padding
        wide, due = (np.pad(values, [(0, 0), (0, width - values.shape[1])]) for values in (own, right))
        wrong = ~np.isclose(wide, due, rtol=_CLOSE, atol=_CLOSE)
        if wrong.any():
            row = int(np.flatnonzero(wrong.any(axis=1))[0])
            raise ParityError(
                f"the attributes of the item of code {FIRST_ITEM + row} become {own[row].tolist()} in '{name}', and NVTabular "
                f"made {right[row].tolist()} of them. The bundle was not written"
            )


def write_encoder(items: RunItems, path: Path) -> None:
    """Write the encoder as ONNX: encoded attributes, by the names of Content's tensors, to vectors float32 [N, D]."""
    example = tuple(torch.from_numpy(items.tensors[name][:2]) for name in items.encoder.names)
    # Each list has a length of its own: where two axes have one name, ONNX Runtime takes them to be of one size.
    axes = {name: {0: "N", 1: f"L_{name}"} if name.startswith("bag_") else {0: "N"} for name in items.encoder.names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracer, which is to go
        torch.onnx.export(
            items.encoder,
            example,
            str(path),
            input_names=list(items.encoder.names),
            output_names=["content"],
            dynamic_axes={**axes, "content": {0: "N"}},
            opset_version=17,
            dynamo=False,
        )


def _keep_sessions(plan: Plan, count: int, path: Path) -> None:
    if not count:
        return
    column = plan.fitted.session_column
    sessions, _ = pd.factorize(plan.sample[column])  # null is -1
    kept = plan.sample.loc[(sessions >= 0) & (sessions < count), [column, *plan.raw_dtypes]]
    pyarrow.parquet.write_table(pa.Table.from_pandas(kept, preserve_index=False), path, compression="zstd")


def _attributes_of(run: RunDirectory) -> Attributes:
    """How the run's fitted items workflow encodes its attributes."""
    schema = run.schema.items
    assert schema is not None, "a model with content has an items table"
    found = []
    for attribute, encoding in zip(schema.attributes, run.item_encodings(), strict=True):
        if attribute.cardinality is not None:
            values: Any = encoding.values  # pyright: ignore[reportAttributeAccessIssue]
            found.append(Attribute(attribute.name, attribute.kind, attribute.dtype, tuple(values.tolist())))
        else:
            mean, std = encoding.mean, encoding.std  # pyright: ignore[reportAttributeAccessIssue]
            found.append(Attribute(attribute.name, attribute.kind, attribute.dtype, mean=mean, std=std))
    return Attributes(tuple(found), schema.vectors, schema.vectors_width, dict(schema.shown))


def _rows_by_code(run: RunDirectory, attributes: Attributes, ids: np.ndarray) -> pa.Table:
    """The items table in the order of the codes, null in each column of an item that it does not have. ids: by code from 3."""
    table = run.items()
    assert table is not None
    own = table.column(run.schema.item_column)
    place = pc.index_in(pa.array(ids, own.type), value_set=own.combine_chunks())
    schema = attributes.schema
    return pa.table([table.column(field.name).cast(field.type).take(place) for field in schema], schema=schema)

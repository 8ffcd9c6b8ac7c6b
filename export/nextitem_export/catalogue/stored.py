"""What a bundle keeps of its catalogue in `<name>/<version>/catalogue/`, from which another version is written.

catalogue.json    how the bundle was exported, as far as derived files depend on it
tables            ids.parquet, id_vectors.npy, bias.npy, rows.parquet
item_vectors.npy  the items as they are embedded, where that is more than what ids have learnt
attributes.json   how attributes are encoded, and encoder.onnx, what makes vectors of them
session.onnx      the session model; the items' vectors are one of its inputs
program/          the compiled workflow
queries.npy       what some sessions ask for, which shows how a large catalogue may be scanned
proof.parquet     raw interactions of some sessions, by which an update is proved
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from onnx import TensorProto, helper, numpy_helper

from nextitem_bundle.errors import BundleError
from nextitem_bundle.manifest import Manifest, read_manifest
from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.signature import Signature
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import ModelFeature, Newest
from nextitem_bundle.versions import active_version

from .._errors import CatalogueError
from ..retrieval.session_graph import SessionGraph
from ..workflow.backend_choice import newest_only
from .attributes import Attributes
from .changes import differing_rows
from .tables import Tables

FOLDER = "catalogue"
SETTINGS, ENCODER, SESSION, PROGRAM = "catalogue.json", "encoder.onnx", "session.onnx", "program"
QUERIES, PROOF, ITEM_VECTORS = "queries.npy", "proof.parquet", "item_vectors.npy"
#: Items that are encoded at once.
_BATCH = 65_536


@dataclasses.dataclass(frozen=True)
class CatalogueSettings:
    """How a bundle was exported, as far as an update has to know.

    Attributes:
        created: when the tables were written, ISO 8601, UTC.
        session_column: the column of proof.parquet that tells sessions apart.
        table: the input of session.onnx with the items' vectors.
        normalized: whether queries are compared with vectors of length 1.
        features: what the model reads. item_feature: that of the encoded items.
        scoring, min_recall, first_look: see ScoringChoice. threads: of the retrieval step's graph.
    """

    created: str
    session_column: str
    table: str
    normalized: bool
    features: tuple[ModelFeature, ...]
    item_feature: str
    scoring: str
    min_recall: float
    first_look: bool
    threads: int

    def save(self, folder: Path) -> None:
        """Write `catalogue.json`."""
        (folder / SETTINGS).write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CatalogueSettings:
        """Read what `save` wrote. Raises CatalogueError for an unknown or missing key."""
        document: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        known = {field.name for field in dataclasses.fields(cls)}
        wrong = sorted(known ^ set(document))
        if wrong:
            raise CatalogueError(
                f"{folder / SETTINGS} has another form, which shows at '{wrong[0]}': another release wrote it. Export the "
                "bundle again"
            )
        document["features"] = tuple(ModelFeature(**feature) for feature in document["features"])
        return cls(**document)


@dataclasses.dataclass(frozen=True)
class StoredCatalogue:
    """The catalogue of one version of a bundle. tables: as they are stored."""

    repository: Path
    manifest: Manifest
    settings: CatalogueSettings
    attributes: Attributes | None
    tables: Tables

    @classmethod
    def open(cls, repository: Path, name: str, version: int | None = None) -> StoredCatalogue:
        """Open that of a version; None: of the active one. Raises CatalogueError where it keeps none."""
        version = active_version(repository, name) if version is None else version
        if version is None:
            raise CatalogueError(f"{repository} holds no bundle '{name}': name a repository and a bundle in it")
        try:
            manifest = read_manifest(repository, name, version)
        except BundleError as error:
            raise CatalogueError(str(error)) from error
        refuse_without_catalogue(manifest)
        folder = repository / name / str(version) / FOLDER
        return cls(repository, manifest, CatalogueSettings.load(folder), Attributes.load(folder), Tables.load(folder))

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.repository / self.manifest.name / str(self.manifest.version) / FOLDER

    @functools.cached_property
    def signature(self) -> Signature:
        """The request that the bundle takes."""
        return Signature.from_json(self.manifest.request)

    @functools.cached_property
    def program(self) -> Program:
        """The compiled workflow."""
        return Program.load(self.folder / PROGRAM)

    @property
    def session(self) -> SessionGraph:
        """The session model's nodes, with the items' vectors as the weight that is missing."""
        return read_session(self.folder / SESSION, self.settings.table)

    @property
    def models(self) -> tuple[str, ...]:
        """The bundle's models, the one that clients call last."""
        return tuple(self.manifest.models)

    @property
    def scoring(self) -> str:
        """How the catalogue is searched."""
        return self.settings.scoring

    @property
    def session_column(self) -> str:
        """The column that tells sessions of a sample apart."""
        return self.settings.session_column

    @property
    def item_tensor(self) -> str:
        """The tensor of encoded items."""
        features = self.settings.features
        return next(feature.tensor for feature in features if feature.name == self.settings.item_feature)

    @functools.cached_property
    def newest(self) -> Newest:
        """How much of a session the compiled workflow reads, and in which order."""
        return newest_only(self.program)

    @property
    def kept_queries(self) -> np.ndarray:
        """What some sessions asked for at the export, float32 [S, D]."""
        return np.load(self.folder / QUERIES, allow_pickle=False)

    def sessions(self) -> list[pd.DataFrame]:
        """Raw interactions of kept sessions, a frame each with the columns that are sent; [] where none were kept."""
        path = self.folder / PROOF
        if not path.exists():
            return []
        rows = pyarrow.parquet.read_table(path).to_pandas()
        names = [feature.name for feature in self.signature.features]
        groups = rows.groupby(self.session_column, sort=False)
        return [session.loc[:, names].reset_index(drop=True) for _, session in groups]

    def queries(self, features: Mapping[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
        """What sessions ask for, float32 [B, D], by the session model in a graph of its own.

        features: what the model reads, by tensor, [B, T] each. vectors: the items as they are embedded, float32 [V, D].
        """
        graph = self._session_model
        read = {value.name for value in graph.get_inputs()}
        given = {name: values for name, values in {**features, self.settings.table: vectors}.items() if name in read}
        return graph.run([graph.get_outputs()[0].name], given)[0]

    @functools.cached_property
    def _session_model(self) -> Any:
        return open_graph(self.folder / SESSION, self.settings.threads)

    def vectors(self, tables: Tables) -> np.ndarray:
        """The items as they are embedded, float32 [V, D]: what ids have learnt, and what the encoder makes of attributes."""
        vectors = np.array(tables.id_vectors, dtype=np.float32)
        if self.attributes is not None:
            self._add_content(vectors, tables, np.arange(len(tables.ids)))
        return vectors

    def next_vectors(self, tables: Tables) -> np.ndarray:
        """The same with the vectors of this version, to the last bit, where an item is as it was."""
        if self.attributes is None:
            return np.asarray(tables.id_vectors)
        before, old = np.load(self.folder / ITEM_VECTORS, mmap_mode="r", allow_pickle=False), self.tables
        assert old.rows is not None
        assert tables.rows is not None
        differing = np.ones(len(tables.ids), dtype=bool)
        differing[: len(old.ids)] = differing_rows(old.rows, tables.rows.slice(0, len(old.ids)))
        differing[: len(old.ids)] |= (old.id_vectors != tables.id_vectors[: len(before)]).any(axis=1)[FIRST_ITEM:]
        vectors = np.array(tables.id_vectors, dtype=np.float32)
        same = np.flatnonzero(~differing) + FIRST_ITEM
        vectors[same], vectors[:FIRST_ITEM] = before[same], before[:FIRST_ITEM]
        self._add_content(vectors, tables, np.flatnonzero(differing))
        return vectors

    def _add_content(self, vectors: np.ndarray, tables: Tables, places: np.ndarray) -> None:
        """Add to the vectors of items, by code less FIRST_ITEM, what the encoder makes of their attributes."""
        assert self.attributes is not None
        assert tables.rows is not None
        encoder = open_graph(self.folder / ENCODER, self.settings.threads)
        for start in range(0, len(places), _BATCH):
            batch = places[start : start + _BATCH]
            (made,) = encoder.run(None, dict(self.attributes.encode(tables.rows.take(pa.array(batch))).tensors))
            vectors[batch + FIRST_ITEM] += made

    def ranked_table(self, vectors: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """The items as queries are compared with them, float32 [V, D], one column more with a bias."""
        if self.settings.normalized:
            vectors = normalized(vectors)
        return vectors if bias is None else np.concatenate([vectors, bias[:, None]], axis=1)


def refusal_of(manifest: Manifest) -> str | None:
    """Why a version keeps no catalogue that can be updated, and what to do about it; None where it keeps one."""
    if manifest.catalogue is None:
        return "it was exported before bundles had a catalogue: export the run again"
    return manifest.catalogue.refused


def refuse_without_catalogue(manifest: Manifest) -> None:
    """Raise CatalogueError where a version has no catalogue that can be updated."""
    refused = refusal_of(manifest)
    if refused:
        raise CatalogueError(
            f"version {manifest.version} of '{manifest.name}' has no catalogue that can be updated: {refused}"
        )


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, as torch.nn.functional.normalize makes them."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.float32(1e-12))).astype(np.float32)


def write_session(session: SessionGraph, table: str, width: int, path: Path) -> None:
    """Write the session model as a graph of its own: the features and the items' vectors float32 [V, D] to what it gives."""
    weights = [
        numpy_helper.from_array(np.ascontiguousarray(w), name) for name, w in session.weights.items() if name != table
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        session.nodes,
        "session",
        [*session.inputs, tensor(table, TensorProto.FLOAT, ["V", width])],
        [tensor(name, TensorProto.FLOAT, None) for name in (session.result, *session.heads)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=session.opset_imports)
    model.ir_version = session.ir_version
    onnx.save(model, str(path))


def read_session(path: Path, table: str) -> SessionGraph:
    """Read what `write_session` wrote; the items' vectors are no weight of it."""
    model = onnx.load(str(path))
    versions = {entry.domain: entry.version for entry in model.opset_import}
    return SessionGraph(
        inputs=[value for value in model.graph.input if value.name != table],
        nodes=list(model.graph.node),
        weights={tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer},
        result=model.graph.output[0].name,
        heads=tuple(output.name for output in model.graph.output[1:]),
        table=None,
        opset=versions.pop("", 0),
        ir_version=model.ir_version,
        domains=versions,
    )


def open_graph(path: Path, threads: int) -> Any:
    """An InferenceSession of ONNX Runtime, on so many threads of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

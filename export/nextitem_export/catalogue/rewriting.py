"""Writes another version of a bundle from changed tables: what is derived from them anew, and everything else as it was."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from nextitem_bundle.checksums import checksums_of
from nextitem_bundle.config import as_version
from nextitem_bundle.manifest import CatalogueSummary
from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.fused import PARTS
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import (
    AnnRetrieval,
    CatalogueAge,
    CompiledFeatures,
    FusedGraph,
    FusedSteps,
    Items,
    OnnxGraph,
    Retrieval,
    read_step,
    write_step,
)
from nextitem_bundle.versions import CONFIG, NO_CACHE, WARM_UP

from ..graphs.id_decoder import INPUTS as ITEMS_INPUTS
from ..graphs.id_decoder import write_items
from ..graphs.merging import write_merged
from ..retrieval.choice import ScoringChoice, write_scored
from ..retrieval.session_graph import with_table
from ..retrieval.tensors import OUTPUTS, RankedItems, filter_tensors, head_tensors
from ..wire import request_tensors
from ..workflow.backend_choice import NUMPY, choose_backend, newest_only
from ..workflow.emit_onnx import emit_onnx
from .stored import ENCODER, FOLDER, ITEM_VECTORS, PROGRAM, PROOF, QUERIES, SESSION, StoredCatalogue
from .tables import Tables
from .vocabulary import with_vocabulary

#: What of a model's version is the same in the next one.
_KEPT = ("model.py", "nextitem_runtime", NO_CACHE)


@dataclasses.dataclass(frozen=True)
class _Update:
    """A version on its way. folders: of the three steps, which are laid out as models afterwards."""

    stored: StoredCatalogue
    tables: Tables
    build: Path
    version: int
    created: str

    @property
    def name(self) -> str:
        return self.stored.manifest.name

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        features, retrieval, items = (self.build / f".{part}" for part in PARTS)
        return features, retrieval, items

    @property
    def age(self) -> CatalogueAge:
        return CatalogueAge(int((~self.tables.removed).sum()), self.created)

    def old(self, model: str) -> Path:
        """The version folder of a model as it is now."""
        return self.stored.repository / model / str(self.stored.manifest.version)

    def new(self, model: str) -> Path:
        """That of the version which is written."""
        return self.build / model / str(self.version)


def write_version(stored: StoredCatalogue, tables: Tables, build: Path, version: int) -> None:
    """Write all models of a version into a build folder, as `nextitem_bundle.placing` takes them.

    Args:
        stored: the version from which it is written.
        tables: the changed tables.
        build: an empty folder on the repository's file system.
        version: the new version.

    Raises UnsupportedModel where an approximate scoring finds too little.
    """
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    update = _Update(stored, tables, build, version, created)
    for folder in update.folders:
        folder.mkdir()
    program = with_vocabulary(stored.program, stored.tables.served_ids, tables.served_ids)
    index = ItemIndex.of(tables.served_ids)
    _write_features(update, program, index)
    vectors = _write_retrieval(update, index)
    write_items(tables.served_ids, update.folders[2], _old_settings(update, 2).backend)
    for model in stored.manifest.models:
        _begin_model(update, model)
    if stored.manifest.layout == "fused":
        _lay_out_fused(update)
    else:
        _lay_out_ensemble(update)
    for folder in update.folders:
        shutil.rmtree(folder)
    _keep(update, program, vectors)
    _write_manifest(update)


def _write_manifest(update: _Update) -> None:
    """Write `bundle.json` over all files of the built models; how the version was proved is to be added."""
    stored, tables, build = update.stored, update.tables, update.build
    files = [path for model in stored.models for path in sorted((build / model).rglob("*")) if path.is_file()]
    summary = CatalogueSummary(
        items=update.age.items,
        removed=int(tables.removed.sum()),
        attributes=tuple(attribute.name for attribute in stored.attributes.attributes) if stored.attributes else (),
        created=update.created,
    )
    dataclasses.replace(
        stored.manifest,
        version=update.version,
        sha256=checksums_of(build, [path for path in files if path.name not in (AVAILABILITY, NO_CACHE)]),
        created=update.created,
        availability_given=False,  # it is the one that acts, and goes on acting
        request=dataclasses.replace(stored.signature, bundle_version=update.version).to_json(),
        catalogue_size=len(tables.ids),
        catalogue=summary,
        parity=[],
    ).write(build)


def _old_settings(update: _Update, step: int) -> Any:
    """The settings of a step as they are; of a fused model what its parts would have."""
    manifest = update.stored.manifest
    if manifest.layout != "fused":
        return read_step(update.old(manifest.models[step]))
    whole = update.old(update.name)
    settings = read_step(whole)
    if isinstance(settings, FusedSteps):
        return read_step(whole / PARTS[step])
    return (
        CompiledFeatures(settings.signature, settings.filters, settings.codes, "onnx", None),
        Retrieval(settings.graph, settings.ranking),
        Items("onnx", ()),
    )[step]


def _write_features(update: _Update, program: Program, index: ItemIndex) -> None:
    folder, old = update.folders[0], _old_settings(update, 0)
    backend = choose_backend(program)
    if backend.name == NUMPY:
        program.save(folder / "program")
    else:
        onnx.save(emit_onnx(program, update.stored.signature.window), str(folder / "model.onnx"))
    signature = dataclasses.replace(old.signature, bundle_version=update.version)
    settings = CompiledFeatures(
        signature, old.filters, old.codes, backend.name, backend.reason, newest_only(program), catalogue=update.age
    )
    write_step(folder, settings)
    index.save(folder)


def _write_retrieval(update: _Update, index: ItemIndex) -> np.ndarray:
    """Returns the items as they are embedded, float32 [V, D]."""
    stored, tables, folder = update.stored, update.tables, update.folders[1]
    settings = stored.settings
    index.save(folder)
    vectors = stored.next_vectors(tables)
    table = stored.ranked_table(vectors, tables.bias)
    session = stored.session
    session = dataclasses.replace(session, weights={**session.weights, settings.table: vectors})
    ranked = RankedItems(
        table=table,
        log_popularity=tables.log_popularity,
        features=tuple(feature.name for feature in settings.features),
        item_feature=settings.item_feature,
        k=stored.signature.top_k_limit,
        heads=stored.signature.heads,
    )
    if settings.scoring == "ann":
        _update_index(update, table)
    names = [*(feature.tensor for feature in settings.features), *filter_tensors(settings.features)]
    sample = _sample(update)
    asked = len(sample[stored.item_tensor])
    queries = stored.queries(sample, vectors) if asked else stored.kept_queries
    write_scored(
        ScoringChoice(settings.scoring, settings.min_recall, settings.first_look),
        ranked,
        with_table(session, table),
        names,
        folder,
        sample,
        queries if settings.first_look else None,
        settings.threads,
    )
    return vectors


def _sample(update: _Update) -> dict[str, np.ndarray]:
    """The features of kept sessions that know an item, by tensor; none where none were kept."""
    stored = update.stored
    features, sessions = stored.settings.features, stored.sessions()
    if not sessions:
        return {feature.tensor: np.zeros((0, stored.signature.window), feature.dtype) for feature in features}
    step = open_step(update.folders[0])
    each = [step.run(request_tensors([session], stored.signature.features)) for session in sessions]
    found = {feature.tensor: np.concatenate([one[feature.tensor] for one in each]) for feature in features}
    known = (found[stored.item_tensor] >= FIRST_ITEM).any(axis=1)
    return {name: values[known] for name, values in found.items()}


def _update_index(update: _Update, table: np.ndarray) -> None:
    """The index of the version before with what is new or another vector, in the lists that there are."""
    faiss: Any = importlib.import_module("faiss")
    manifest = update.stored.manifest
    folder = update.old(manifest.models[1] if manifest.layout != "fused" else update.name)
    folder = folder if (folder / "index.faiss").exists() else folder / PARTS[1]
    old_settings: AnnRetrieval = read_step(folder)
    old = np.load(folder / old_settings.table, mmap_mode="r", allow_pickle=False)
    index = faiss.read_index(str(folder / old_settings.index))
    changed = np.flatnonzero((old != table[: len(old)]).any(axis=1))
    changed = changed[changed >= FIRST_ITEM]
    if len(changed):
        index.remove_ids(changed)
    codes = np.concatenate([changed, np.arange(len(old), len(table))])
    if len(codes):
        index.add_with_ids(np.ascontiguousarray(table[codes], dtype=np.float32), codes)
    faiss.write_index(index, str(update.folders[1] / old_settings.index))


def _begin_model(update: _Update, model: str) -> None:
    """A model's folder with what is the same in each version, its configuration and its warm-up data."""
    before, target = update.stored.manifest.version, update.new(model)
    target.mkdir(parents=True)
    for name in _KEPT:
        source = update.old(model) / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.exists():
            shutil.copy(source, target / name)
    text = as_version((update.old(model) / CONFIG).read_text(encoding="utf-8"), before, update.version)
    for folder in (target, target.parent):
        (folder / CONFIG).write_text(text, encoding="utf-8")
    warm_up = update.stored.repository / model / WARM_UP
    if (warm_up / str(before)).is_dir():  # that of one version
        shutil.copytree(warm_up / str(before), target.parent / WARM_UP / str(update.version))
    elif warm_up.is_dir():
        shutil.copytree(warm_up, target.parent / WARM_UP)


def _lay_out_ensemble(update: _Update) -> None:
    for folder, model in zip(update.folders, update.stored.manifest.models[:3], strict=True):
        old, settings = read_step(update.old(model)), read_step(folder)
        if hasattr(old, "queue"):
            write_step(folder, dataclasses.replace(settings, queue=old.queue))
        _move(folder, update.new(model))
    _take_availability_along(update, update.new(update.stored.manifest.models[1]))


def _lay_out_fused(update: _Update) -> None:
    target, old = update.new(update.name), read_step(update.old(update.name))
    features, retrieval = (read_step(folder) for folder in update.folders[:2])
    heads = {tensor: head.name for tensor, head in head_tensors(update.stored.signature.heads).items()}
    signature, reads_list = features.signature, target
    if isinstance(retrieval, Retrieval) and write_merged(update.folders, target, heads, features.codes):
        settings: FusedGraph | FusedSteps = FusedGraph(
            signature=signature,
            filters=features.filters,
            codes=features.codes,
            newest=features.newest,
            graph=OnnxGraph(update.stored.settings.threads),
            ranking=retrieval.ranking,
            queue=old.queue,
            catalogue=update.age,
        )
    else:
        for part, folder in zip(PARTS, update.folders, strict=True):
            shutil.copytree(folder, target / part)
        write_step(target / PARTS[0], dataclasses.replace(features, catalogue=None))  # the model itself tells it
        reads_list = target / PARTS[1]
        names: list[tuple[str, str]] = list(zip(OUTPUTS, ITEMS_INPUTS[:3], strict=True))
        settings = FusedSteps(signature, features.filters, dict(names), heads, old.queue, update.age)
    write_step(target, settings)
    _take_availability_along(update, reads_list)


def _take_availability_along(update: _Update, folder: Path) -> None:
    """Copy the list that acts into the folder of what ranks, which a fused model that is no single graph has inside."""
    for model in update.stored.models:
        for source in update.old(model).rglob(AVAILABILITY):
            shutil.copy(source, folder)


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        os.replace(path, target / path.name)


def _keep(update: _Update, program: Program, vectors: np.ndarray) -> None:
    """The catalogue of the new version. vectors: the items as they are embedded, float32 [V, D]."""
    stored = update.stored
    source, target = stored.folder, update.new(update.name) / FOLDER
    target.mkdir()
    same = update.tables.same_files(stored.tables)
    for name in (ENCODER, SESSION, QUERIES, PROOF, *same):
        if (source / name).exists():
            _link(source / name, target / name)
    if stored.attributes is not None:
        stored.attributes.save(target)
        np.save(target / ITEM_VECTORS, vectors, allow_pickle=False)
    dataclasses.replace(stored.settings, created=update.created).save(target)
    update.tables.save(target, same)
    program.save(target / PROGRAM)


def _link(source: Path, target: Path) -> None:
    """The same file once more, since no file of a version is written to again; a copy where there are no hard links."""
    try:
        os.link(source, target)
    except OSError:  # of another owner, or on a file system without them
        shutil.copyfile(source, target)

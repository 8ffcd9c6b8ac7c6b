"""step.json: what each kind of step has to know beside its files. One dataclass a kind; it is written and read strictly."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, cast

from .signature import Signature

#: The file in a step's version folder.
STEP = "step.json"


class StepError(ValueError):
    """A step.json cannot be read; the message names the key, what came and what is expected."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """module: of this package, whose `open_step` opens the step."""

    name: str
    module: str
    settings: type[Any]


#: By name, the "kind" of step.json.
KINDS: dict[str, Kind] = {}

_T = TypeVar("_T")


def kind(name: str, module: str) -> Callable[[type[_T]], type[_T]]:
    """Registers a dataclass as the settings of a kind of step."""

    def register(settings: type[_T]) -> type[_T]:
        KINDS[name] = Kind(name, module, settings)
        return settings

    return register


@kind("onnx", "graphs.onnx")
@dataclasses.dataclass(frozen=True)
class OnnxGraph:
    """`model.onnx`."""

    threads: int = 1


@kind("torchscript", "graphs.torchscript")
@dataclasses.dataclass(frozen=True)
class TorchScriptGraph:
    """`model.pt`, with the names of its inputs and outputs in their order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    threads: int = 1


@dataclasses.dataclass(frozen=True)
class Newest:
    """How much of a session the features read: the `window` last interactions, in the order of `sorted_by`.

    window: None where whole sessions are read. sorted_by: an integer column (null: as sent), None for the order of the
    request.
    """

    window: int | None = None
    sorted_by: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelFeature:
    """What the session model reads: the workflow's output `name` as the tensor `tensor` [B, T] of the numpy `dtype`."""

    name: str
    tensor: str
    dtype: str


@dataclasses.dataclass(frozen=True)
class CatalogueAge:
    """What a step tells of the catalogue in its metrics.

    items: that it has, removed ones left out. created: when its tables were written, ISO 8601 with the difference from UTC.
    """

    items: int
    created: str


@dataclasses.dataclass(frozen=True)
class Queue:
    """How a step makes batches of what waits.

    preferred_batch_size: sessions that are answered in one run at most. max_queue_size, max_queue_ms: requests beyond these are
    refused, 0 is no limit. warm_ups: the requests that Triton asks before the model is ready.
    """

    preferred_batch_size: int
    max_queue_size: int
    max_queue_ms: float
    warm_ups: int


@kind("features_compiled", "features.compiled")
@dataclasses.dataclass(frozen=True)
class CompiledFeatures:
    """The compiled workflow: `model.onnx`, or `program/` where the backend is `numpy`; backend_reason says why.

    filters: the outputs with the excluded and the allowed codes. codes: the output with the encoded items. catalogue: None
    where the bundle keeps none.
    """

    signature: Signature
    filters: tuple[str, ...]
    codes: str
    backend: str
    backend_reason: str | None
    newest: Newest = Newest()
    graph: OnnxGraph = OnnxGraph()
    catalogue: CatalogueAge | None = None


@kind("features_nvtabular", "features.nvtabular")
@dataclasses.dataclass(frozen=True)
class NvtabularFeatures:
    """The workflow itself, in `workflow/`. filters, codes, catalogue: see CompiledFeatures.

    columns: raw column to the pandas dtype that it had when the workflow was fitted; session_dtype: of the session column.
    tie_breaker_column: None where the workflow has none. item_values: whether what the workflow gives for items is no code.
    """

    signature: Signature
    filters: tuple[str, ...]
    codes: str
    features: tuple[ModelFeature, ...]
    columns: Mapping[str, str]
    session_column: str
    session_dtype: str
    tie_breaker_column: str | None = None
    item_values: bool = False
    catalogue: CatalogueAge | None = None


@dataclasses.dataclass(frozen=True)
class FirstLook:
    """What an int8 scan looks at: so many columns, and the groups beyond one for each item that are scored exactly."""

    width: int
    groups: int


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What a graph that ranks reads beside a request, by name: see `runtime/retrieval/`.

    rows: of its table, 0 where it has none. k: the items that it gives at most.
    """

    constants: Mapping[str, str]
    rows: int = 0
    k: int = 0


@kind("retrieval", "retrieval")
@dataclasses.dataclass(frozen=True)
class Retrieval:
    """The session model over the whole catalogue, in one graph.

    recall_at_20: measured at export, None where the scoring is exact. queue: None where another step calls it.
    """

    graph: OnnxGraph | TorchScriptGraph
    ranking: Ranking
    scoring: str = "exact"
    first_look: FirstLook | None = None
    recall_at_20: float | None = None
    queue: Queue | None = None


@kind("retrieval_ann", "retrieval.ann")
@dataclasses.dataclass(frozen=True)
class AnnRetrieval:
    """The session model's graph, and a faiss index for candidates. index, table, popularity: files.

    filters: see CompiledFeatures. outputs: the names of codes, scores and status. heads: those of further heads. k: items of an
    answer; candidates: that are scored exactly for them. probes: lists that a search reads. queue: see Retrieval.
    """

    graph: OnnxGraph
    index: str
    table: str
    popularity: str
    filters: tuple[str, ...]
    outputs: tuple[str, ...]
    heads: tuple[str, ...]
    k: int
    candidates: int
    probes: int
    scoring: str = "ann"
    recall_at_20: float | None = None
    queue: Queue | None = None


@kind("items", "id_decoder")
@dataclasses.dataclass(frozen=True)
class Items:
    """Codes to raw ids: `model.onnx`, or `items.npy` where the backend is `numpy`. queue: see Retrieval."""

    backend: str
    inputs: tuple[str, ...]
    graph: OnnxGraph = OnnxGraph()
    queue: Queue | None = None


@kind("fused_graph", "fused")
@dataclasses.dataclass(frozen=True)
class FusedGraph:
    """Features, retrieval and items merged into one `model.onnx`. filters, codes, newest, catalogue: see CompiledFeatures."""

    signature: Signature
    filters: tuple[str, ...]
    codes: str
    newest: Newest
    graph: OnnxGraph
    ranking: Ranking
    queue: Queue
    catalogue: CatalogueAge | None = None


@kind("fused_steps", "fused")
@dataclasses.dataclass(frozen=True)
class FusedSteps:
    """The three steps in folders beside each other.

    ranked: retrieval's outputs to what the items step calls them. heads: those of further heads to the answer's names.
    catalogue: see CompiledFeatures.
    """

    signature: Signature
    filters: tuple[str, ...]
    ranked: Mapping[str, str]
    heads: Mapping[str, str]
    queue: Queue
    catalogue: CatalogueAge | None = None


#: The settings of the steps that read requests.
_WITH_CATALOGUE = (CompiledFeatures, NvtabularFeatures, FusedGraph, FusedSteps)


def catalogue_of(settings: Any) -> CatalogueAge | None:
    """What a step's settings say of the catalogue, None where they say nothing."""
    return settings.catalogue if isinstance(settings, _WITH_CATALOGUE) else None


def kind_of(settings: Any) -> Kind:
    """The kind whose settings these are."""
    return next(kind for kind in KINDS.values() if kind.settings is type(settings))


def read_step(folder: Path) -> Any:
    """The settings in a version folder: an instance of one of the dataclasses here.

    Raises StepError for a kind that is not known and for a key that is unknown, missing or of another type; OSError.
    """
    path = folder / STEP
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        name = document.pop("kind")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise StepError(f"{path} is no description of a step ({type(error).__name__}: {error})") from None
    if name not in KINDS:
        raise StepError(f"{path} has kind '{name}', this runtime knows {', '.join(KINDS)}")
    return _read(document, KINDS[name].settings, str(path))


def write_step(folder: Path, settings: Any) -> None:
    """Write the settings of a step into its version folder.

    As a new file, since the old one may be another build's as well.
    """
    path = folder / STEP
    path.unlink(missing_ok=True)
    path.write_text(json.dumps({"kind": kind_of(settings).name, **_fields(settings)}, indent=1), encoding="utf-8")


def _written(value: Any) -> Any:
    if isinstance(value, Signature):
        return value.to_json()
    if isinstance(value, (OnnxGraph, TorchScriptGraph)):
        return {"kind": kind_of(value).name, **_fields(value)}
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, tuple):
        return [_written(one) for one in cast("tuple[Any, ...]", value)]
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: _written(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _read(value: Any, wanted: Any, where: str) -> Any:
    """A JSON value as the type that is wanted."""
    if wanted is Signature:
        return Signature.from_json(value)
    given = _object(value)
    if wanted in (OnnxGraph, TorchScriptGraph) and given is not None:
        return _read_fields({name: one for name, one in given.items() if name != "kind"}, wanted, where)
    if dataclasses.is_dataclass(wanted):
        return _read_fields(value, cast("type[Any]", wanted), where)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (Union, types.UnionType):
        return _read_one_of(value, arguments, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(one, arguments[0], where) for one in cast("list[Any]", value))
    if origin is not None and given is not None and issubclass(origin, Mapping):
        return {name: _read(one, arguments[1], f"{where}, {name}") for name, one in given.items()}
    if wanted is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is wanted:
        return value
    raise StepError(f"{where} is {value!r}, expected {getattr(wanted, '__name__', wanted)}")


def _read_one_of(value: Any, wanted: tuple[Any, ...], where: str) -> Any:
    if value is None and types.NoneType in wanted:
        return None
    given = _object(value) or {}
    name = given.get("kind")
    if name is None:
        return _read(value, next(one for one in wanted if one is not types.NoneType), where)
    named = KINDS.get(name)
    if named is None or named.settings not in wanted:
        raise StepError(f"{where} has kind {name!r}, which is none of those that fit there")
    return _read(given, named.settings, where)


def _read_fields(value: Any, wanted: type[Any], where: str) -> Any:
    given = _object(value)
    if given is None:
        raise StepError(f"{where} is {value!r}, expected an object")
    names = [field.name for field in dataclasses.fields(wanted)]
    for what, found in (("has no", set(names) - set(given)), ("has an unknown", set(given) - set(names))):
        if found:
            raise StepError(
                f"{where} {what} key '{min(found)}', expected are {', '.join(names)}: export the bundle again"
            )
    hints = typing.get_type_hints(wanted)
    return wanted(**{name: _read(given[name], hints[name], f"{where}, {name}") for name in names})

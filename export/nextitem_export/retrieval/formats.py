"""How the retrieval step is written: ONNX, by either of torch's exporters, or TorchScript; and what is tried in which order."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from nextitem_bundle.runtime.filters import WIDTHS
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import Step, open_step
from nextitem_bundle.runtime.steps import Ranking, TorchScriptGraph, write_step
from nextitem_bundle.runtime.steps import Retrieval as Settings

from .._errors import ExportError, ParityError, UnsupportedModel
from ..model_files.file import is_onnx
from .choice import EXACT, ScoringChoice, write_scored
from .merged import merge_session
from .module import ModelFeature, Retrieval
from .session import trace_session, trace_session_dynamo
from .session_graph import SessionGraph, with_table
from .tensors import filter_tensors

#: From the retrieval step, its inputs' names (the last three are its filters) and an example of each, into a folder.
Writer = Callable[[Retrieval, Sequence[str], tuple[torch.Tensor, ...], Path], Settings]

#: From the retrieval step, its features' names and an example of each, to the session model's part of an ONNX graph.
Tracer = Callable[[Retrieval, Sequence[str], tuple[torch.Tensor, ...]], SessionGraph]


@dataclasses.dataclass(frozen=True)
class Format:
    """A way to write the retrieval step.

    write: puts the graph into a folder and returns the step's settings, whose threads are set here; or trace: gives the
    session model's part of an ONNX graph, behind which every scoring can stand.
    warm_batches: the batch sizes that a server asks before it is ready.
    """

    warm_batches: tuple[int, ...]
    write: Writer | None = None
    trace: Tracer | None = None


FORMATS: dict[str, Format] = {}


class GraphError(UnsupportedModel):
    """A session model cannot be made a graph in one of the formats, or that graph does not run; another may do."""


def write_retrieval(
    format_name: str,
    retrieval: Retrieval,
    features: tuple[ModelFeature, ...],
    example: tuple[torch.Tensor, ...],
    folder: Path,
    *,
    threads: int,
    scoring: ScoringChoice = EXACT,
    sample: tuple[torch.Tensor, ...] | None = None,
) -> SessionGraph | None:
    """Write the retrieval step's graph and its step.json into a version folder.

    Returns the session model's part of an ONNX graph, before it shares the item table; None where it is TorchScript.

    example: the features of a batch of two sessions of different lengths, which the trace follows. sample: those of some
    hundred sessions, on which the recall of an approximate scoring is measured; the example if not given. The folder holds the
    item index already.
    Raises GraphError if the model cannot be traced to it, and UnsupportedModel if the format is unknown, does not go with the
    model or the scoring, or the scoring finds too little.
    """
    if format_name not in FORMATS:
        raise UnsupportedModel(f"unknown format '{format_name}', known are {', '.join(FORMATS)}")
    sample = example if sample is None else sample
    cardinality = len(retrieval.log_popularity)
    # Two tensors, not one twice: torch.export takes one object for one input.
    excluded, allowed = (torch.zeros(len(example[0]), WIDTHS[0], dtype=torch.int64) for _ in range(2))
    example = (*example, excluded, allowed, torch.ones(cardinality, dtype=torch.bool))
    form, names = FORMATS[format_name], [*(feature.tensor for feature in features), *filter_tensors(features)]
    retrieval = retrieval.eval()
    session: SessionGraph | None = None
    try:
        with torch.no_grad(), warnings.catch_warnings(), _without_fast_path():
            _ignore_tracing()
            if form.trace is not None:
                trace = merge_session if is_onnx(retrieval.model) else form.trace
                session = trace(retrieval, names[:-3], example[:-3])
                _write_scored(scoring, retrieval, session, names, folder, sample, threads)
            else:
                assert form.write is not None
                _refuse_approximate(scoring, format_name)
                _refuse_onnx(retrieval, format_name)
                settings = form.write(retrieval, names, example, folder)
                graph = dataclasses.replace(settings.graph, threads=threads)
                write_step(folder, dataclasses.replace(settings, graph=graph))
        step = open_step(folder)  # a graph may be written and yet be refused by what runs it
        inputs = dict(zip(names, example, strict=True))
        given = {name: inputs[name].numpy() for name in step.inputs}
        _check_batches(step, given, type(retrieval.model).__name__, format_name)
        return session
    except UnsupportedModel:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # torch.export wraps what the model said in advice on torch
            cause = cause.__cause__
        if isinstance(cause, UnsupportedModel):
            raise cause from error
        raise GraphError(
            f"{type(retrieval.model).__name__} cannot be exported to {format_name}: {type(cause).__name__}: {cause}"
        ) from error


def _write_scored(
    scoring: ScoringChoice,
    retrieval: Retrieval,
    session: SessionGraph,
    names: Sequence[str],
    folder: Path,
    sample: tuple[torch.Tensor, ...],
    threads: int,
) -> None:
    ranked = retrieval.ranked()
    features = dict(zip(retrieval.names, sample, strict=True))
    known = (features[retrieval.item_feature] >= FIRST_ITEM).any(dim=1)
    features = {name: values[known] for name, values in features.items()}
    queries = retrieval.queries(sample) if scoring.first_look and ranked.table is not None else None
    encoded = {name: values.numpy() for name, values in zip(names, features.values(), strict=False)}
    write_scored(scoring, ranked, with_table(session, ranked.table), names, folder, encoded, queries, threads)


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """Attention by the operators that exporters know, not by the one that torch has for answers on its own."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _ignore_tracing() -> None:
    """Within catch_warnings: what torch's tracers and exporters say of every model. What the model itself says is heard."""
    # That what is traced may not hold for other data: the parity gate tries it.
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
    # Of constants that are not folded, and of tracers that are to go.
    warnings.filterwarnings("ignore", module=r"torch\.(onnx|jit)")
    warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based ONNX export", DeprecationWarning)
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)


def _check_batches(step: Step, example: Mapping[str, np.ndarray], model: str, format_name: str) -> None:
    """Raise GraphError unless the graph takes two sessions, as it was traced with, and other numbers of them."""
    for rows in (2, 1, 3):
        try:
            answer = step.run({name: values[:1].repeat(rows, axis=0) for name, values in example.items()})
            wrong = [len(values) for values in answer.values() if len(values) != rows]
            if not wrong:
                continue
            what = f"{wrong[0]} answers"
        except Exception as error:  # noqa: BLE001  ONNX Runtime and torch raise classes of their own
            what = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"  # TorchScript prints a stack first
        if rows == 2:
            raise GraphError(
                f"the {format_name} graph of {model} does not run: {what}. Try another format: {', '.join(FORMATS)}"
            )
        raise GraphError(
            f"the graph of {model} is bound to the two sessions that it was traced with; for {rows} it gives {what}. "
            "Python numbers become constants: write tensor.shape[0] where the model says len(tensor), gather where it "
            "indexes by torch.arange(…), and no loop over sessions"
        )


def _refuse_approximate(scoring: ScoringChoice, format_name: str) -> None:
    if scoring.name != EXACT.name:
        formats = ", ".join(name for name, form in FORMATS.items() if form.trace is not None)
        raise UnsupportedModel(
            f"scoring '{scoring.name}' is not written as {format_name}, only as {formats}: choose one of these, or "
            "ExportOptions(scoring='exact')"
        )


def _refuse_onnx(retrieval: Retrieval, format_name: str) -> None:
    if is_onnx(retrieval.model):
        raise UnsupportedModel(
            f"{type(retrieval.model).__name__} is ONNX, which {format_name} has no way to hold: choose "
            "ExportOptions(format='onnx')"
        )


def _torchscript(
    retrieval: Retrieval, names: Sequence[str], example: tuple[torch.Tensor, ...], folder: Path
) -> Settings:
    save_torchscript(torch.jit.freeze(torch.jit.trace(retrieval, example, check_trace=False)), folder)
    graph = TorchScriptGraph(tuple(names), tuple(retrieval.outputs))
    return Settings(graph, Ranking({names[-1]: "mask"}))


def save_torchscript(module: torch.jit.ScriptModule, folder: Path) -> None:
    """Write `model.pt` without the lines of source that each operation came from: they hold paths of this machine."""
    torch.jit.save(module, str(folder / "traced.pt"))
    with zipfile.ZipFile(folder / "traced.pt") as traced, zipfile.ZipFile(folder / "model.pt", "w") as kept:
        for part in traced.infolist():
            if not part.filename.endswith(".debug_pkl"):
                kept.writestr(part, traced.read(part))
    (folder / "traced.pt").unlink()


FORMATS["onnx"] = Format((1, 64), trace=trace_session)
FORMATS["onnx_dynamo"] = Format((1, 64), trace=trace_session_dynamo)
# TorchScript compiles itself during its first calls with each batch size, so each that matters is warmed up.
FORMATS["torchscript"] = Format((1, 2, 4, 8, 16, 32, 64), write=_torchscript)

#: TorchScript too, after ONNX.
AUTO = "auto"
_ONNX, _DYNAMO, _TORCHSCRIPT = "onnx", "onnx_dynamo", "torchscript"
#: What may be asked for.
CHOICES = (_ONNX, AUTO, *(name for name in FORMATS if name != _ONNX))
_TRIED = {_ONNX: (_ONNX, _DYNAMO), AUTO: (_ONNX, _DYNAMO, _TORCHSCRIPT)}
_PATH = re.compile(r"(?<![\w.])(?:/[\w.@+-]+)+/(?=[\w.@+-])")


def formats_to_try(asked: str, active: str | None, *, onnx_file: bool, torchscript: bool) -> tuple[str, ...]:
    """The formats in their order.

    asked: of CHOICES. active: that of the version which answers under the same name and stays, None where there is none; it
    comes first, and TorchScript does not follow ONNX unless it is asked for by name. onnx_file: the model is an ONNX file,
    which one way alone leads from. torchscript: whether the other options let it be.
    """
    if onnx_file and asked != _TORCHSCRIPT:
        return (_ONNX,)
    formats = _TRIED.get(asked, (asked,))
    if asked == AUTO and (not torchscript or active not in (None, _TORCHSCRIPT)):
        formats = formats[:-1]
    return tuple(sorted(formats, key=lambda name: name != active))


def reason_of(error: ExportError) -> str:
    """Why a format fell out, in one line without paths of this machine, as a manifest keeps it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _PATH.sub("", lines[0] if lines else type(error).__name__)


def refusal(model: str, asked: str, errors: Mapping[str, ExportError], *, withheld: bool) -> ExportError:
    """The one error where all formats that were tried fell out; of one alone, its own.

    errors: by format, at least one. withheld: TorchScript was not tried, since it would follow ONNX.
    """
    if len(errors) == 1:
        return next(iter(errors.values()))
    kind = ParityError if any(isinstance(error, ParityError) for error in errors.values()) else UnsupportedModel
    reasons = "".join(f"\n- {name}: {error}" for name, error in errors.items())
    remedy = ""
    if withheld:
        remedy = "\nTorchScript was not tried, since the version that answers is ONNX: give ExportOptions(replace=True)"
    elif asked == _ONNX:
        remedy = "\nExportOptions(format='auto') tries TorchScript too, for which the server needs torch"
    return kind(f"{model} passes in none of the formats that were tried:{reasons}{remedy}")

# PYTHON_ARGCOMPLETE_OK
"""`nextitem-export`: a run directory becomes a bundle in a model repository."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nextitem_bundle import commands

from . import options as choices
from .catalogue.progress import progress_line

if TYPE_CHECKING:
    from .activation import Activation
    from .bundle import Bundle

_NEWEST = 0

logger = logging.getLogger(__name__)

_EXAMPLE = """\
example:
  nextitem-export --run runs/shop --repository model_repository --name shop
  nextitem-serve --model-repository model_repository
  nextitem-export --repository model_repository --name shop --activate --url http://127.0.0.1:8000 \\
      --control-key-file control.key

Export only runs that you trust: a run directory holds a pickled NVTabular workflow.
"""
_EXIT_CODES = {
    0: "done",
    2: "a wrong call, or the run cannot be exported, explained in whole or activated; the repository is as it was",
    130: "interrupted; the repository is as it was",
}


def _parser() -> argparse.ArgumentParser:
    parser = commands.command_parser(
        "nextitem-export",
        distribution="nextitem-export",
        description="Export a run directory as a Triton bundle, proved against NVTabular and the eager model.",
        epilog=_EXAMPLE,
        exit_codes=_EXIT_CODES,
    )
    add = parser.add_argument
    add("--run", metavar="DIR", help="the run directory that nextitem-train wrote")
    add("--repository", metavar="DIR", help="the model repository to put the bundle in")
    add("--name", help="the model that clients will call")
    add("--explain", action="store_true", help="only show how each feature is compiled, or why it is not")
    add("--replace", action="store_true", help="put the bundle in the place of one with another configuration")
    commands.add_output_options(
        parser,
        json_help="print the bundle, what is explained or the activation as JSON instead of a table and a sentence",
        quiet_help="show no progress, only the result, warnings and errors",
    )
    defaults = {field.name: field.default for field in dataclasses.fields(choices.ExportOptions)}
    _add_serving(parser, defaults)
    _add_limits(parser, defaults)
    _add_items(parser, defaults)
    _add_versions(parser)
    return parser


def _add_serving(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    add = parser.add_argument_group("how the bundle is served (docs/exporting.md)").add_argument
    add("--layout", default=defaults["layout"], help=f"{', '.join(choices.LAYOUTS)} (default: %(default)s)")
    add(
        "--format",
        default=defaults["format"],
        help="onnx, by the first of two exporters whose graph passes; auto, TorchScript after them; onnx_dynamo or "
        "torchscript, that alone (default: %(default)s)",
    )
    add("--runtime", default=defaults["runtime"], help=f"{', '.join(choices.RUNTIMES)} (default: %(default)s)")
    add("--features", default=defaults["features"], help=f"{', '.join(choices.FEATURES)} (default: %(default)s)")
    add(
        "--accelerator",
        default=defaults["accelerator"],
        help=f"{', '.join(choices.ACCELERATORS)}: a GPU for the retrieval step of a native bundle (default: %(default)s)",
    )
    add(
        "--scoring",
        default=defaults["scoring"],
        help="exact, int8-rerank or ann: how a large catalogue is searched, docs/large-catalogues.md (default: %(default)s)",
    )
    add(
        "--min-recall",
        type=float,
        default=defaults["min_recall"],
        metavar="SHARE",
        help="least recall@20 of an approximate scoring (default: %(default)s): 0 is .999 for int8-rerank, .99 for ann",
    )
    add(
        "--keep-workflow-window",
        action="store_true",
        help="serve a workflow that keeps the oldest interactions as it is",
    )


def _add_limits(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    add = parser.add_argument_group("limits of requests, and batches (docs/tuning.md)").add_argument
    for option, text in (
        ("top_k", "items in an answer unless the request says otherwise"),
        ("max_top_k", "the most items that a request may ask for"),
        ("max_sessions", "the most sessions in one request"),
        ("max_interactions", "the most interactions of one session in a request"),
        ("max_id_bytes", "the longest string in bytes of UTF-8"),
        ("threads", "threads of the retrieval step's graph"),
        (
            "instances",
            "processes of the retrieval step or of the fused model, each with all weights; 0: two for fused, else one",
        ),
        ("preferred_batch_size", "the most sessions of several requests that are answered together"),
        ("max_queue_delay_us", "microseconds that a request waits for others to join it"),
        (
            "max_queue_size",
            "waiting requests that are taken at once, further ones are refused; 0: no limit; not by Triton's own backends",
        ),
        ("max_queue_ms", "the same by what it takes to answer them; 0: no limit; not by Triton's own backends"),
        (
            "queue_timeout_ms",
            "milliseconds after which a waiting request is refused; 0: no limit; any other delays some",
        ),
    ):
        flag = "--" + option.replace("_", "-")
        add(flag, type=int, default=defaults[option], metavar="N", help=f"{text} (default: %(default)s)")


def _add_items(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    add = parser.add_argument_group("items").add_argument
    add(
        "--item-codes",
        default=defaults["item_codes"],
        help=f"{', '.join(choices.ITEM_CODES)}: raw item ids are encoded by the workflow, or are the model's rows "
        "(default: %(default)s)",
    )
    add(
        "--item-padding",
        type=int,
        default=defaults["item_padding"],
        metavar="N",
        help="the item code that the model reads where a session has no interaction (default: 0; as-is needs it)",
    )
    add(
        "--availability",
        metavar="FILE",
        default=defaults["availability"],
        help="a JSON list of items that are not to be recommended, or alone are (default: %(default)s)",
    )
    add(
        "--keep-proof",
        type=int,
        default=defaults["keep_proof"],
        metavar="N",
        help="sessions of the sample that the bundle keeps, to prove updates of its catalogue by (default: %(default)s)",
    )


def _add_versions(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("versions (docs/updates.md)").add_argument
    add(
        "--activate",
        nargs="?",
        type=int,
        const=_NEWEST,
        metavar="VERSION",
        help="let a version answer: the one that is exported; without --run the newest, or VERSION (a rollback)",
    )
    add("--url", help="the running server that is switched, http://host:8000; without it, for the next start")
    add("--control-key-file", metavar="FILE", help="opens model control, as nextitem-serve was given it")
    add(
        "--keep-versions",
        type=int,
        default=choices.KEEP_VERSIONS,
        metavar="N",
        help="versions that stay in the repository (default: %(default)s)",
    )


@dataclasses.dataclass(frozen=True)
class _Versions:
    """activate: the version, _NEWEST, or None to let the one that answers go on."""

    activate: int | None
    url: str | None
    control_key_file: str | None
    keep_versions: int


@dataclasses.dataclass(frozen=True)
class _Output:
    """json: the result as JSON; quiet: without progress."""

    json: bool
    quiet: bool


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, or 2 after a sentence on standard error, 130 after Ctrl-C."""
    parser = _parser()
    arguments = vars(commands.parse_arguments(parser, argv))
    output = _Output(json=arguments.pop("json"), quiet=arguments.pop("quiet"))
    run, repository, name, explain = (arguments.pop(key) for key in ("run", "repository", "name", "explain"))
    versions = _Versions(**{field.name: arguments.pop(field.name) for field in dataclasses.fields(_Versions)})
    if wrong := _wrong_call(run, repository, name, explain, versions, arguments["replace"]):
        parser.error(wrong)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # NVTabular warns on every use that it runs on a CPU, and that TensorFlow is not installed.
    warnings.filterwarnings("ignore", category=UserWarning, module="merlin|nvtabular")

    from ._errors import ExportError

    signal.signal(signal.SIGTERM, _interrupt)  # so that a half-built bundle is removed
    try:
        with commands.logs(quiet=output.quiet):
            if run is None:
                return _activate(repository, name, versions, output)
            # What is imported there takes seconds: NVTabular. --help and a wrong flag answer at once.
            options = choices.ExportOptions(**arguments)
            if explain:
                return _explain(run, options, output)
            return _export(run, repository, name, options, versions, output)
    except ExportError as error:
        print(f"nextitem-export: {error.in_flags()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"nextitem-export: interrupted; {repository or run} is as it was", file=sys.stderr)
        return 130


def _wrong_call(
    run: str | None, repository: str | None, name: str | None, explain: bool, versions: _Versions, replace: bool
) -> str | None:
    """What is missing or too much; None where all is well."""
    if run is None and (explain or versions.activate is None):
        return "--run is required, unless a version that is there is to be activated: --activate"
    if not explain and (repository is None or name is None):
        return "--repository and --name are required, unless with --explain"
    if run is not None and versions.activate not in (None, _NEWEST):
        return f"--activate {versions.activate} with --run: what is exported gets a number of its own; give --activate alone"
    if versions.url and versions.activate is None:
        return "--url is the server that --activate switches: give both or none"
    if versions.url and replace:
        return (
            "--replace takes away what the server at --url answers with: give another --name, or start the server again"
        )
    if versions.keep_versions < 1:
        return f"--keep-versions is {versions.keep_versions}, expected 1 or more"
    return None


def _export(
    run: str, repository: str, name: str, options: choices.ExportOptions, versions: _Versions, output: _Output
) -> int:
    from .run import export_run

    with progress_line("opening the run", logger, quiet=output.quiet) as progress:
        bundle = export_run(run, repository=repository, name=name, options=options, progress=progress)
    answers = bundle.active == bundle.version
    activate = versions.activate is not None and not (answers and versions.url is None)
    for sentence in bundle.warnings:
        print(f"nextitem-export: warning: {sentence}", file=sys.stderr)
    if not output.json:
        _print_bundle(bundle, options, with_next_step=not activate)
    done = None
    if activate:
        done = _activated(repository, name, dataclasses.replace(versions, activate=bundle.version), output)
    if output.json:
        commands.print_json({**_bundle_json(bundle, done), "activation": None if done is None else _as_json(done)})
    elif done is not None:
        _print_activation(name, versions, done)
    return 0


def _print_bundle(bundle: Bundle, options: choices.ExportOptions, *, with_next_step: bool) -> None:
    from rich.console import Console

    from .report import how_it_is_written, how_to_activate, how_to_serve, parity_table

    console = Console()
    console.print(parity_table(bundle.parity))
    if (written := how_it_is_written(bundle)) is not None:
        console.print(written, soft_wrap=True, highlight=False, markup=False)
    where = f"bundle '{bundle.name}' version {bundle.version} is in {bundle.repository}"
    to_serve = how_to_serve(bundle.repository, options.runtime, options.accelerator)
    what_next = to_serve if bundle.active == bundle.version else how_to_activate(bundle)
    console.print(f"{where}; {what_next}" if with_next_step else where, soft_wrap=True, highlight=False)


def _bundle_json(bundle: Bundle, done: Activation | None) -> dict[str, Any]:
    return {
        "repository": str(bundle.repository),
        "name": bundle.name,
        "version": bundle.version,
        "active": bundle.active if done is None else done.version,
        "format": bundle.format,
        "fell_out": dict(bundle.fell_out),
        "parity": [report.to_json() for report in bundle.parity],
        "warnings": list(bundle.warnings),
    }


def _activate(repository: str, name: str, versions: _Versions, output: _Output) -> int:
    done = _activated(repository, name, versions, output)
    if output.json:
        commands.print_json(_as_json(done))
    else:
        _print_activation(name, versions, done)
    return 0


def _activated(repository: str, name: str, versions: _Versions, output: _Output) -> Activation:
    from .activation import activate_bundle
    from .control import read_key

    with progress_line("reading the versions", logger, quiet=output.quiet) as progress:
        return activate_bundle(
            repository,
            name,
            versions.activate or None,
            url=versions.url,
            key=None if versions.control_key_file is None else read_key(versions.control_key_file),
            keep_versions=versions.keep_versions,
            progress=progress,
        )


def _print_activation(name: str, versions: _Versions, done: Activation) -> None:
    where = f"at {versions.url}" if versions.url else "from the next start of a server on"
    gone = f"; removed: version {', '.join(map(str, done.pruned))}" if done.pruned else ""
    print(f"'{name}' answers with version {done.version} {where}; before: {done.before}{gone}")


def _as_json(done: Activation) -> dict[str, Any]:
    return dataclasses.asdict(done)


def _explain(run: str, options: choices.ExportOptions, output: _Output) -> int:
    from rich.console import Console

    from .explain import Refused
    from .report import explained_json, explained_table
    from .run import explain_run

    rows = explain_run(run, options)
    refused = [row for row in rows if isinstance(row, Refused)]
    if output.json:
        commands.print_json(explained_json(rows))
        return 2 if refused else 0
    Console().print(explained_table(rows))
    for row in refused:
        print(f"refused: '{row.column}': {row.reason.in_flags()}")
    return 2 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

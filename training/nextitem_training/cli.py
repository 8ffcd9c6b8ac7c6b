# PYTHON_ARGCOMPLETE_OK
"""The command nextitem-train."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nextitem_bundle import commands
from nextitem_training.config import Config, read_config
from nextitem_training.errors import ConfigError, DivergenceError, NextItemTrainingError

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster

_EPILOG = """\
example:
  nextitem-train --data demo/clicks.parquet --config demo/config.toml --output runs/demo

several processes, on one machine or more:
  torchrun --nproc-per-node 2 -m nextitem_training --data … --config … --output …

The data has one row per interaction, with at least a session, an item and a time; the
configuration names the columns and chooses the model. The run directory holds the fitted
NVTabular workflow, the model, its schema, a sample of raw sessions and the metrics;
nextitem-export makes a model repository of it.
"""
_EXIT_CODES = {
    0: "done",
    2: "the data, the configuration or the output cannot be used, or the training diverged",
    130: "interrupted",
}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    result = commands.command_parser(
        "nextitem-train",
        distribution="nextitem-training",
        description="Train a session-based recommender on interactions: what comes next?",
        epilog=_EPILOG,
        exit_codes=_EXIT_CODES,
    )
    result.add_argument("--data", required=True, metavar="PATH", help="a Parquet or CSV file, or a folder of them")
    result.add_argument(
        "--items", metavar="PATH", help="the items table, a row for each item; [items] says what it has"
    )
    result.add_argument(
        "--validation-data", metavar="PATH", help="sessions that judge checkpoints, in place of [data] validation_days"
    )
    result.add_argument(
        "--test-data", metavar="PATH", help="sessions that the model is judged by, in place of [data] holdout"
    )
    result.add_argument("--config", required=True, metavar="FILE", help="TOML with [data], [model] and [training]")
    result.add_argument("--output", required=True, metavar="PATH", help="the run directory to write")
    result.add_argument("--overwrite", action="store_true", help="replace an existing run directory")
    result.add_argument(
        "--resume", action="store_true", help="go on with a training that was cut off, from its newest checkpoint"
    )
    result.add_argument(
        "--init-from",
        metavar="RUN",
        help="begin with the weights of an older run, by raw id: tomorrow's model from today's",
    )
    result.add_argument(
        "--incremental-days",
        type=int,
        metavar="N",
        help="train up to the days that [data] holdout_days holds out and judge by the first N of them, go on with these and "
        "judge by the next N, and so on; a run directory for each, named by the date, in --output",
    )
    result.add_argument(
        "--incremental-epochs",
        type=int,
        metavar="N",
        help="of the trainings that go on; as [training] says if not given",
    )
    result.add_argument(
        "--dask-scheduler", metavar="ADDRESS", help="have NVTabular run on this Dask cluster, such as tcp://host:8786"
    )
    result.add_argument("--body", metavar="NAME", help="instead of [model] body")
    result.add_argument("--pretraining", metavar="NAME", help="instead of [model] pretraining")
    result.add_argument("--epochs", type=int, metavar="N", help="instead of [training] epochs")
    commands.add_output_options(
        result,
        json_help="print the run directory and the metrics as JSON instead of a table",
        quiet_help="show no progress, only the metrics, warnings and errors",
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = commands.parse_arguments(parser(), arguments)
    # Late, as it takes seconds to import what --help and a wrong option do not need.
    from nextitem_training.loop import processes

    # NVTabular warns on every use that it runs on a CPU, and that TensorFlow is not installed.
    warnings.filterwarnings("ignore", category=UserWarning, module="merlin|nvtabular")
    with commands.logs(quiet=options.quiet, usual=logging.ERROR if processes.rank() else logging.INFO):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from nextitem_training.loop import processes

    try:
        with processes.group():
            if processes.rank():
                from nextitem_training.loop.workers import work

                work()
            else:
                _train(options)
                processes.shared(None)  # the others end; after a failure torchrun ends them, whatever they are at
    except NextItemTrainingError as error:
        if not (processes.rank() and isinstance(error, DivergenceError)):  # all raise it, and one tells
            print(f"nextitem-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nnextitem-train: interrupted; {options.output} is as it was{_how_to_go_on(options)}", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    """What the one process does, or process 0 of several."""
    config = _override(read_config(options.config), options)
    if options.incremental_epochs is not None and options.incremental_days is None:
        raise ConfigError(
            "--incremental-epochs goes with --incremental-days, which is not given; give both or neither."
        )
    if options.incremental_days is not None and (options.validation_data or options.test_data):
        raise ConfigError(
            "--incremental-days splits --data by time; --validation-data and --test-data do not go with it. Leave them out, or "
            "train once for each of your parts."
        )
    from nextitem_training.data.given import GivenFiles
    from nextitem_training.evaluation import as_table
    from nextitem_training.incremental import Windows, train_windows
    from nextitem_training.train import train_run

    given = {name: getattr(options, name) for name in ("overwrite", "resume", "init_from", "items")}
    with _cluster(options.dask_scheduler) as cluster:
        if options.incremental_days is not None:
            windows = Windows(options.incremental_days, options.incremental_epochs)
            metrics = train_windows(options.data, config, options.output, windows, cluster=cluster, **given)
        else:
            files = GivenFiles(options.validation_data, options.test_data)
            metrics = train_run(options.data, config, options.output, cluster=cluster, given=files, **given).metrics
    if options.json:
        commands.print_json({"run": options.output, "metrics": metrics})
    else:
        print(as_table(metrics))
        print(f"Wrote {options.output}")


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Cluster | None]:
    if address is None:
        yield None
        return
    from nextitem_training.cluster import connected

    with connected(address) as cluster:
        yield cluster


def _how_to_go_on(options: argparse.Namespace) -> str:
    from nextitem_training.loop.training_folder import TrainingFolder

    if options.incremental_days:
        return " but for time windows that are done; give the same command with --resume to go on"
    newest = TrainingFolder.beside(options.output).newest
    if not newest:
        return ", and there is no checkpoint yet"
    return f"; give the same command with --resume to go on after step {newest.step}"


def _override(config: Config, options: argparse.Namespace) -> Config:
    model = {"body": options.body, "pretraining": options.pretraining}
    model = {name: value for name, value in model.items() if value is not None}
    training = {} if options.epochs is None else {"epochs": options.epochs}
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **model),
        training=dataclasses.replace(config.training, **training),
    )

# PYTHON_ARGCOMPLETE_OK
"""The command nextitem-import."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from nextitem_bundle import commands
from nextitem_training.config.imported import Activation
from nextitem_training.errors import NextItemTrainingError
from nextitem_training.importing.told import MASKINGS, MASKS, Told

_EPILOG = """\
example:
  nextitem-import --state-dict model.pt --schema schema.pbtxt --workflow workflow --sample clicks.parquet \\
      --masking mlm --output runs/imported

Nothing is unpickled but the workflow, and Transformers4Rec need not be installed. What no weight tells is said by options; what
cannot be taken over is named. docs/migrating/transformers4rec.md has the script that writes the state dict.
"""
_EXIT_CODES = {0: "done", 2: "the model, its workflow, the sample or the output cannot be used", 130: "interrupted"}
_AGGREGATIONS = ("concat", "element-wise-sum", "element-wise-sum-item-multi")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    result = commands.command_parser(
        "nextitem-import",
        distribution="nextitem-training",
        description="Make a run directory of a model that Transformers4Rec trained.",
        epilog=_EPILOG,
        exit_codes=_EXIT_CODES,
    )
    add = result.add_argument
    add("--state-dict", required=True, metavar="FILE", help="the model's weights: torch's, or .safetensors")
    add("--schema", required=True, metavar="FILE", help="the schema.pbtxt or .json that the model was built from")
    add("--workflow", required=True, metavar="FOLDER", help="the fitted workflow, as nvtabular.Workflow.save wrote it")
    add("--sample", required=True, metavar="FILE", help="raw interactions, Parquet: the export proves a bundle on them")
    add("--output", required=True, metavar="PATH", help="the run directory to write")
    add("--overwrite", action="store_true", help="replace an existing run directory")
    add("--masking", required=True, choices=MASKINGS, help="how the model was trained")
    add(
        "--mask",
        choices=MASKS,
        default="original",
        help="original: answer as the model does padded (the default); proper: hide padding",
    )
    add("--body", default="", metavar="NAME", help="bert or roberta, whose weights have the same names")
    add("--heads", type=int, default=0, metavar="N", help="n_head, for all bodies but xlnet")
    add("--layers", type=int, default=0, metavar="N", help="n_layer, for albert")
    add("--activation", default="gelu", metavar="NAME", help="hidden_act of the body, gelu by default")
    add("--attention", choices=("bi", "uni"), default="bi", help="attn_type of xlnet, bi by default")
    add("--layer-norm-eps", type=float, default=0.0, metavar="X", help="0.03 by default, 1e-5 for gpt2")
    add("--temperature", type=float, default=1.0, metavar="X", help="softmax_temperature of the task, 1 by default")
    add("--aggregation", choices=_AGGREGATIONS, default="", help="of the inputs, where they are not concatenated")
    add("--mlp-activation", choices=get_args(Activation), default="relu", help="of each MLPBlock before the body")
    add("--task-activation", choices=get_args(Activation), default="", help="of the layers between body and scores")
    add("--window", type=int, default=0, metavar="N", help="max_sequence_length, where the workflow has no ListSlice")
    add("--tie-breaker", default="", metavar="COLUMN", help="the workflow's input that callers do not send")
    commands.add_output_options(
        result,
        json_help="print the run directory and the metrics as JSON instead of a table",
        quiet_help="show no progress, only the metrics, warnings and errors",
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = commands.parse_arguments(parser(), arguments)
    warnings.filterwarnings("ignore", category=UserWarning, module="merlin|nvtabular")
    with commands.logs(quiet=options.quiet, usual=logging.INFO):
        try:
            _import(options)
        except NextItemTrainingError as error:
            print(f"nextitem-import: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"\nnextitem-import: interrupted; {options.output} is as it was", file=sys.stderr)
            return 130
    return 0


def _import(options: argparse.Namespace) -> None:
    # Late, as it takes seconds to import what --help and a wrong option do not need.
    from nextitem_training.evaluation import as_table
    from nextitem_training.importing.run import ImportedFiles, import_run

    files = ImportedFiles(*(Path(getattr(options, name)) for name in ("state_dict", "schema", "workflow", "sample")))
    told = Told(
        masking=options.masking,
        mask=options.mask,
        body=options.body,
        heads=options.heads,
        layers=options.layers,
        activation=options.activation,
        attention=options.attention,
        layer_norm_eps=options.layer_norm_eps,
        temperature=options.temperature,
        aggregation=options.aggregation,
        mlp_activation=options.mlp_activation,
        task_activation=options.task_activation,
        window=options.window,
        tie_breaker=options.tie_breaker,
    )
    metrics = import_run(files, told, options.output, overwrite=options.overwrite)
    if options.json:
        commands.print_json({"run": options.output, "metrics": metrics})
        return
    if metrics:
        print(as_table(metrics))
    print(f"Wrote {options.output}")

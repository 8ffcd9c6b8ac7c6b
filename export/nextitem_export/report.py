"""What the exporter found, as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .bundle import Bundle
from .explain import Refused
from .parity.compare import SCORE_ABSOLUTE
from .parity.gate import CaseReport
from .workflow.backend_choice import BackendChoice
from .workflow.compile import Explained


def parity_table(reports: Sequence[CaseReport]) -> Table:
    """One row a case; every row passed, since a difference stops the export."""
    table = Table(title="parity: the exported graphs against NVTabular and the eager model")
    table.add_column("case")
    table.add_column("sessions", justify="right")
    table.add_column("judged by NVTabular", justify="right")
    table.add_column("features, largest rel. diff.", justify="right")
    table.add_column(f"scores, largest diff. (≤ {SCORE_ABSOLUTE:g})", justify="right")
    heads = any(report.head_difference is not None for report in reports)
    if heads:
        table.add_column("heads, largest diff.", justify="right")
    for report in reports:
        table.add_row(
            report.case,
            str(report.sessions),
            str(report.judged),
            f"{report.feature_difference:.1e}",
            f"{report.score_difference:.1e}",
            *([f"{report.head_difference or 0.0:.1e}"] if heads else []),
        )
    return table


def how_to_serve(repository: Path, runtime: str, accelerator: str = "none") -> str:
    """The command, and of a native bundle what has been seen of it and what has not."""
    command = f"serve it with\n  nextitem-serve --model-repository {repository}"
    if runtime != "native":
        return command
    on_gpu = f" Its retrieval asks for a GPU ({accelerator}), and none has run it." if accelerator != "none" else ""
    return (
        f"{command} --server PATH\n"
        "PATH is a tritonserver that has the backends python, onnxruntime and pytorch, as NVIDIA's image has. No server has "
        f"run this bundle: its steps were asked in this process.{on_gpu}"
    )


def how_it_is_written(bundle: Bundle) -> str | None:
    """The format of the session model, where others fell out before it."""
    if not bundle.fell_out:
        return None
    needs = "; the server needs torch for it" if bundle.format == "torchscript" else ""
    others = "".join(f"\n  {name} fell out: {reason}" for name, reason in bundle.fell_out.items())
    return f"the session model is written as {bundle.format}{needs}{others}"


def how_to_activate(bundle: Bundle) -> str:
    """For a version beside the one that answers."""
    return (
        f"version {bundle.active} answers until you activate it:\n  nextitem-export --repository {bundle.repository} --name "
        f"{bundle.name} --activate\nand with --url http://host:8000 --control-key-file FILE for a running server"
    )


def explained_table(rows: Sequence[Explained | Refused]) -> Table:
    """One row a feature of the model that is compiled."""
    table = Table(title="the compiled workflow")
    for heading in ("feature", "from", "operators", "lookup", "served by"):
        table.add_column(heading)
    for row in rows:
        if isinstance(row, Explained):
            table.add_row(row.column, row.raw, " → ".join(row.operators), row.lookups, _served_by(row.backend))
    return table


def explained_json(rows: Sequence[Explained | Refused]) -> dict[str, Any]:
    """The rows as `--explain --json` prints them: "features" that are compiled, and what is "refused" with the reason."""
    features = [
        {
            "feature": row.column,
            "from": row.raw,
            "operators": list(row.operators),
            "lookup": row.lookups,
            "served_by": row.backend.name,
            "reason": row.backend.reason or None,
        }
        for row in rows
        if isinstance(row, Explained)
    ]
    refused = [{"column": row.column, "reason": row.reason.in_flags()} for row in rows if isinstance(row, Refused)]
    return {"features": features, "refused": refused}


def _served_by(backend: BackendChoice) -> str:
    return f"{backend.name}: {backend.reason}" if backend.reason else backend.name

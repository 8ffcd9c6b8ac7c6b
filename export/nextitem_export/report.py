"""What the exporter found, as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ._errors import UnsupportedWorkflow
from .parity.compare import SCORE_ABSOLUTE
from .parity.gate import CaseReport
from .workflow.compile import Explained
from .workflow.forms import ServedForm


def parity_table(reports: Sequence[CaseReport]) -> Table:
    """One row a case; every row passed, since a difference stops the export."""
    table = Table(title="parity: the exported graphs against NVTabular and the eager model")
    table.add_column("case")
    table.add_column("sessions", justify="right")
    table.add_column("judged by NVTabular", justify="right")
    table.add_column("features, largest rel. diff.", justify="right")
    table.add_column(f"scores, largest diff. (≤ {SCORE_ABSOLUTE:g})", justify="right")
    for report in reports:
        table.add_row(
            report.case,
            str(report.sessions),
            str(report.judged),
            f"{report.feature_difference:.1e}",
            f"{report.score_difference:.1e}",
        )
    return table


def explained_table(rows: Sequence[Explained | UnsupportedWorkflow]) -> Table:
    """One row a feature of the model that is compiled."""
    table = Table(title="the compiled workflow")
    for heading in ("feature", "from", "operators", "lookup", "served by"):
        table.add_column(heading)
    for row in rows:
        if isinstance(row, Explained):
            table.add_row(row.column, row.raw, " → ".join(row.operators), row.lookups, _served_by(row.form))
    return table


def _served_by(form: ServedForm) -> str:
    return f"{form.name}: {form.reason}" if form.reason else form.name

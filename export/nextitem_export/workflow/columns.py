"""The columns of a workflow while it is lowered."""

from __future__ import annotations

import dataclasses

from .expressions import Expr

INTERACTION, SESSION, LIST = "interaction", "session", "list"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: what it computes, at which level, and the dtype that pandas has for it at this point.

    dtype: `string`, `datetime`, `bool` or numpy's name, of the elements where the level is `list`. sort: what the sessions
    are sorted by, and start, stop: the slice of a list that is kept; both for lists alone. trail: the operators behind
    the column, from first to last, for `--explain`.
    """

    expr: Expr
    level: str
    dtype: str
    sort: tuple[Expr, ...] = ()
    start: int | None = None
    stop: int | None = None
    trail: tuple[str, ...] = ()

    def becomes(self, expr: Expr, dtype: str) -> Column:
        """The same column after an elementwise operation."""
        return dataclasses.replace(self, expr=expr, dtype=dtype)


Table = dict[str, Column]

"""[data]: the columns of the interactions and how they are split."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.files import FilesConfig
from nextitem_training.config.section import Names
from nextitem_training.errors import ConfigError, nearest

DAYS: Final = "days"
LAST_INTERACTION: Final = "last-interaction"


@dataclass(frozen=True)
class DataConfig(FilesConfig):
    """The columns of the interactions, and which sessions are held out for evaluation and validation. See docs/training.md."""

    session_column: str = "session_id"
    """Column with the session's id. It groups interactions, is no feature and is not sent in requests. Its name must not end in
    `_list`, `_count`, `_nunique`, `_mean`, `_median`, `_std`, `_var` or `_sum`."""
    item_column: str = "item_id"
    """Column with the item's id, strings or integers: what the model reads and recommends."""
    time_column: str = "timestamp"
    """Column with the time of the interaction, which orders a session; docs/data.md lists the formats. With `time_from`, the
    name of the column that is made."""
    categorical: Names = ()
    """Further columns of strings or integers as categorical features. The item column is always one."""
    continuous: Names = ()
    """Columns of numbers as features, standardised by mean and standard deviation of the training part. Null becomes the
    mean."""
    log_continuous: Names = ()
    """Columns of skewed amounts, such as prices, as features: log(1 + x), then standardised. Values below 0 count as 0."""
    time_features: Names = ()
    """Categorical features that are computed from the time column, in UTC. Callers send the time, not these."""
    targets: Names = ()
    """Columns of numbers or booleans that `[[heads]]` predict. Read in training only: no model input, and not sent in
    requests."""
    tie_breaker_column: str = "row_position"
    """Name of a column that nextitem-train adds: the row's position in the data, which orders interactions of the same time.
    Change it only if you list a column of this name."""
    window: PositiveInt = 20
    """T, the longest sequence that the model reads: the newest interactions of a session. Requests may send more. Training cuts
    longer sessions into several examples."""
    holdout: Literal["days", "last-interaction"] = DAYS
    """What is held out for evaluation. `days`: whole sessions, by `holdout_days`. `last-interaction`: the newest interaction of
    each session (leave-one-out), for data where a session is the whole history of a user. `--test-data` replaces it."""
    holdout_days: PositiveFloat = 14.0
    """`days` only: sessions that start in the last `holdout_days` days of the data are held out."""
    validation_days: NonNegativeFloat = 0.0
    """`days` only: of the remaining sessions, those that start in the last `validation_days` days choose the best checkpoint.
    0: no validation sessions."""
    validation_interaction: bool = False
    """`last-interaction` only: the newest interaction of what remains of each session chooses the best checkpoint."""
    exclude_seen: bool = False
    """Evaluate and validate without the items of the input session, as requests with `exclude_seen` are answered. It does not
    change what is served."""
    min_session_length: Annotated[int, Field(ge=2)] = 2
    """Sessions with fewer interactions in the training part are not trained on. They still count for the vocabulary and for
    popularity, and they are evaluated and served like others."""
    min_item_count: PositiveInt = 1
    """Items with fewer interactions in the training part are unknown: they get no embedding and are never recommended."""
    sample_sessions: PositiveInt = 500
    """Number of held-out sessions that the run directory keeps raw, as `sample.parquet`. nextitem-export proves a bundle on
    them."""
    item_group: str = ""
    """The column of `categorical` that groups items. With `--init-from`, a new item starts from the mean embedding of its
    group. Empty: the first of `categorical`."""

    def __post_init__(self) -> None:
        self.check_files()
        roles = [self.session_column, self.item_column, self.time_column, self.tie_breaker_column]
        names = [*roles, *self.categorical, *self.continuous, *self.log_continuous]
        names += [*self.time_features, *self.targets]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"[data] lists '{name}' more than once; a column or time feature has one use.")
        # Groupby takes such an ending for one of its aggregations and changes the column's type.
        if re.search("_(list|count|nunique|mean|median|std|var|sum)$", self.session_column):
            raise ConfigError(
                f"[data] session_column is '{self.session_column}': NVTabular's Groupby takes the "
                "ending for an aggregation; rename the column, for example to 'session_id'."
            )
        if self.item_group and self.item_group not in self.categorical:
            raise ConfigError(
                f"[data] item_group is '{self.item_group}'; it has to be one of categorical: "
                f"{', '.join(self.categorical) or 'which is empty'}."
            )
        self._check_split()
        columns = [
            name for name in (*names, *self.time_from) if name not in (self.tie_breaker_column, *self.time_features)
        ]
        for name in self.types:
            if name not in columns:
                raise ConfigError(f"[data.types] names '{name}', which is no column of [data].{nearest(name, columns)}")

    @property
    def validates(self) -> bool:
        """Whether validation sessions are split off, which choose the best checkpoint."""
        return bool(self.validation_days or self.validation_interaction)

    def _check_split(self) -> None:
        if self.holdout == LAST_INTERACTION and self.validation_days:
            raise ConfigError(
                f"[data] validation_days is {self.validation_days:g}, but holdout is '{LAST_INTERACTION}', which does not "
                "split by days; set validation_interaction = true instead."
            )
        if self.holdout == DAYS and self.validation_interaction:
            raise ConfigError(
                f"[data] validation_interaction is true, but holdout is '{DAYS}', which holds out whole sessions; set "
                "validation_days instead."
            )

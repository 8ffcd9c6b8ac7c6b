"""[data]: which columns there are and how they are split."""

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
    """The columns of the interactions, how their files are read and how they are split."""

    session_column: str = "session_id"
    item_column: str = "item_id"
    time_column: str = "timestamp"
    categorical: Names = ()
    """Further columns of strings or integers; the item column is always read."""
    continuous: Names = ()
    """Columns of numbers that are normalised."""
    log_continuous: Names = ()
    """Columns of amounts, such as prices: log(1 + x), then normalised; below 0 counts as 0."""
    time_features: Names = ()
    """Read from the time column: weekday, hour, month."""
    targets: Names = ()
    """Columns of numbers that heads predict: known in training alone, and nothing that a caller sends."""
    tie_breaker_column: str = "row_position"
    """Made while reading: the row's position in the data, which orders interactions of one time."""
    window: PositiveInt = 20
    """The newest interactions of a session that the model reads."""
    holdout: Literal["days", "last-interaction"] = DAYS
    """What is held out for evaluation: `days`, whole sessions by `holdout_days`; `last-interaction`, the newest interaction of
    each session (leave-one-out), for sessions that are all that a user does."""
    holdout_days: PositiveFloat = 14.0
    """With `days`: sessions that start in the last so many days are held out."""
    validation_days: NonNegativeFloat = 0.0
    """With `days`: of the rest, those of the last so many days are kept for judging checkpoints; 0 for none."""
    validation_interaction: bool = False
    """With `last-interaction`: each session's newest interaction of the rest is kept for judging checkpoints."""
    exclude_seen: bool = False
    """Items of the input are no answer where the model is judged, as in a request with `exclude_seen`."""
    min_session_length: Annotated[int, Field(ge=2)] = 2
    """Sessions of which training sees fewer interactions are no training examples; answers are given for them all the same."""
    min_item_count: PositiveInt = 1
    """Items with fewer interactions in training are unknown: neither learnt nor recommended."""
    sample_sessions: PositiveInt = 500
    """Held-out sessions that are kept raw in the run directory."""
    item_group: str = ""
    """The column of `categorical` by which items are alike: where training starts from an older run, a new item starts from its
    group's mean. The first of `categorical` if empty."""

    def __post_init__(self) -> None:
        self.check_files()
        roles = [self.session_column, self.item_column, self.time_column, self.tie_breaker_column]
        names = [*roles, *self.categorical, *self.continuous, *self.log_continuous]
        names += [*self.time_features, *self.targets]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"[data] lists '{name}' more than once; a column or time feature has one use.")
        # Groupby takes such an ending for its own and changes the column's type.
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
        """Whether a part of the data is kept for judging checkpoints."""
        return bool(self.validation_days or self.validation_interaction)

    def _check_split(self) -> None:
        if self.holdout == LAST_INTERACTION and self.validation_days:
            raise ConfigError(
                f"[data] validation_days is {self.validation_days:g}, but holdout is '{LAST_INTERACTION}', which knows no "
                "days; set validation_interaction = true instead."
            )
        if self.holdout == DAYS and self.validation_interaction:
            raise ConfigError(
                f"[data] validation_interaction is true, but holdout is '{DAYS}', which holds out whole sessions; set "
                "validation_days instead."
            )

"""Every error that this package raises on purpose.

NextItemTrainingError
├── CheckpointError    a model of another library that cannot be taken over
├── ConfigError        the configuration file or an option
├── DataError          the interactions
├── DivergenceError    a training whose numbers stopped being finite
└── RunDirectoryError  a run directory that is missing, incomplete, not finite or in the way
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NextItemTrainingError(Exception):
    """The message is a sentence for the user: what came, what was expected, what to do."""


class CheckpointError(NextItemTrainingError):
    """The weights of another library's model, or its schema, cannot be taken over as they are."""


class ConfigError(NextItemTrainingError):
    """The configuration cannot be used as it is."""


class DataError(NextItemTrainingError):
    """The interactions cannot be used as they are."""


class DivergenceError(NextItemTrainingError):
    """The training came to a loss, a gradient, weights or scores that are NaN or infinite. All its processes raise it."""


class RunDirectoryError(NextItemTrainingError):
    """The run directory cannot be read or written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ' Did you mean …?' for a misspelt name, or an empty string."""
    folded = {entry.strip().casefold(): entry for entry in known}
    close = difflib.get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean '{folded[close[0]]}'?" if close else ""

"""Settings of a bundle that are chosen by measuring it on this machine: `nextitem-export --tune`."""

from __future__ import annotations

from .choose import Tuning, check_tunable, tune

__all__ = ["Tuning", "check_tunable", "tune"]

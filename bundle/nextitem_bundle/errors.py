"""Why a bundle cannot be read, or a version of it not be placed."""

from __future__ import annotations


class BundleError(Exception):
    """What is there is not what was exported, or cannot be placed; the message says what came and what to do."""

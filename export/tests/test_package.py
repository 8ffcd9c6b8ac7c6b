"""The package as a whole: what it offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nextitem_export
from nextitem_export import _errors


def test_everything_that_is_offered_is_there():
    for name in nextitem_export.__all__:
        assert getattr(nextitem_export, name).__doc__


def test_all_errors_are_export_errors_and_offered():
    errors = [e for e in vars(_errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert all(issubclass(error, (nextitem_export.ExportError, Warning)) for error in errors)
    assert {error.__name__ for error in errors} <= set(nextitem_export.__all__)


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(
        AttributeError, match="'nextitem_export' has no attribute 'magic', it has Activation, Bundle, CatalogueError"
    ):
        nextitem_export.magic  # noqa: B018


def test_importing_it_loads_neither_nvtabular_nor_torch():
    code = "import sys, nextitem_export.cli; print({'nvtabular', 'torch', 'pandas', 'numpy'} & sys.modules.keys())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"

"""Model control: a server that loads models anew on request, and the key of those who may ask for that.

With it a caller could have the server load any code, so it is closed to all others (`access.py`); without a key file there is a
key that nobody is told.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from nextitem_server.errors import InvalidOption
from nextitem_server.options import option_value

MODE = "--model-control-mode"
LOAD = "--load-model"
#: A strict server is not ready while a version loads or unloads beside the one that answers: probes would take it away.
READINESS = "--strict-readiness"
_SIGNS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def new_key() -> str:
    """A key that cannot be guessed."""
    return secrets.token_urlsafe(32)


def key_from(file: Path) -> str:
    """The key in a file, which is made with a new one, readable by its owner alone, where it is not there.

    Raises InvalidOption.
    """
    try:
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            key = file.read_text(encoding="utf-8", errors="replace").strip()
        else:
            key = new_key()
            with os.fdopen(handle, "w") as made:
                made.write(key + "\n")
    except OSError as error:
        raise InvalidOption(
            f"--control-key-file {file}: it can be neither read nor made ({error.strerror}). Give a file in a folder that "
            "exists, with a key in it where the folder cannot be written."
        ) from None
    if len(key) < 16 or not set(key) <= _SIGNS:
        raise InvalidOption(
            f"--control-key-file {file}: expected is a key of at least 16 letters, digits, '-' and '_', what is there has "
            f"{len(key)} signs. Remove the file to have a new one made."
        )
    return key


def control_options(options: Sequence[str], models: Sequence[str]) -> list[str]:
    """tritonserver's options for explicit model control with these models loaded.

    None of them where `options` name a mode of their own: then model control is the caller's business.
    """
    if option_value(options, MODE) is not None:
        return []
    # By their names, since Triton's "*" takes whatever folder lies there for a model and ends where it is none.
    loaded = [] if option_value(options, LOAD) is not None else [f"{LOAD}={name}" for name in models]
    readiness = [] if option_value(options, READINESS) is not None else [f"{READINESS}=false"]
    return [f"{MODE}=explicit", *loaded, *readiness]

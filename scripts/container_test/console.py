"""What the test says while it runs, and how it ends."""

import sys
from typing import NoReturn


def say(text: str) -> None:
    """Tell what happens next, or what was found."""
    print(f"== {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End with the sentence; what was started is taken down on the way."""
    sys.exit(f"test-container: {text}")

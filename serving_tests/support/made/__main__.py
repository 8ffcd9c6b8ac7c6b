"""See serving_tests/support/made/__init__.py."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    """Make; returns 0, or 1 after what a failed job printed."""
    parser = argparse.ArgumentParser(prog="python -m serving_tests.support.made", description=__doc__)
    parser.add_argument("names", nargs="*", help="recipes or folders (default: all that the daily tests need)")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="default: the cache")
    options = parser.parse_args()
    # Each job has one core to itself; these are read by what is imported next.
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    from serving_tests.support.made import cache
    from serving_tests.support.made.jobs import JobFailed

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends the jobs too
    folder = (options.into or cache.cached().folder).resolve()
    began = time.monotonic()
    try:
        cache.make_here(folder, options.names or None)
    except JobFailed as error:
        print(error, file=sys.stderr)
        return 1
    if options.into is None:
        cache.remove_others(folder)
    print(f"{folder} has all of it, after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

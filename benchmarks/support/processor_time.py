"""What a process and all its descendants have used of the processor, and the memory that they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def descendants(root: int, parents: Mapping[int, int]) -> list[int]:
    """`root` and everything below it. parents: process to its parent."""
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process and child not in found]
    return found


def process_tree(root: int) -> dict[int, str]:
    """The processes of the tree with their names, `root` first."""
    stats: dict[int, tuple[str, int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                name, fields = parse_stat((folder / "stat").read_text(encoding="utf-8", errors="replace"))
            except OSError:  # it has ended meanwhile
                continue
            stats[int(folder.name)] = (name, int(fields[1]))
    return {
        pid: stats[pid][0]
        for pid in descendants(root, {pid: parent for pid, (_, parent) in stats.items()})
        if pid in stats
    }


def busy_us(process: int) -> float:
    """Processor time of a process, all its threads, since its start: user and system. 0 if it has ended."""
    try:
        _, fields = parse_stat(Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_US


def parse_stat(text: str) -> tuple[str, list[str]]:
    """The name in /proc/PID/stat, which may hold blanks and brackets, and the fields after it (from 3, the state)."""
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, rest.split()


def memory_mb(process: int) -> float:
    """The process's share of memory (PSS: pages that several processes map are divided among them). 0 if it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    lines = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0

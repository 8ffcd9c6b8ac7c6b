"""From how many items on a catalogue is scanned in which way, and in which portions."""

from __future__ import annotations

from nextitem_bundle.runtime.filters import WIDTHS

#: Neighbouring items of which a scan compares only the best one with others at first.
GROUP = 16
#: Catalogues from so many items are scanned in blocks, by int8 first: below, one product in float32 is as fast.
BLOCKS_FROM = 131_072
#: Items in a block, a multiple of GROUP: the scores of 64 sessions take 32 MiB.
BLOCK = 131_072
#: Excluded codes of a session that a scan in blocks leaves to the exact scores: the narrowest lists that a request comes with.
FEW_EXCLUDED = WIDTHS[0]


def padded_items(items: int) -> int:
    """Items with those that fill up the last group."""
    return -(-items // GROUP) * GROUP


def block_bounds(rows: int) -> list[tuple[int, int]]:
    """Start and size of each block."""
    return [(start, min(BLOCK, rows - start)) for start in range(0, rows, BLOCK)]

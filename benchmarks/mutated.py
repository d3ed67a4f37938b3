"""A kind of input that is damaged, and how bytes are."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

NUMBERS = (0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
"""What sizes, offsets and counts are overwritten with."""
WIDTHS = "bhiq"
"""Integers of 1, 2, 4 and 8 bytes, as `struct` calls them."""


def mutate_bytes(content: bytes, generator: random.Random) -> bytes:
    """One to four kinds of damage: flipped bits, cuts, slices that are inserted, repeated or lost, wild numbers."""
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        content = generator.choice(DAMAGES)(content, generator)
    return content


@dataclass(frozen=True)
class Kind:
    """What is damaged and who reads it."""

    make_seeds: Callable[[Path], Sequence[bytes]]
    """Gives whole inputs; may put beside them, in the folder, what a reader needs."""
    read: Callable[[Path, bytes], object]
    """Opens one input as a user would, in that folder; raises what a user would meet."""
    mutate: Callable[[bytes, random.Random], bytes] = mutate_bytes
    """Damages a seed."""


def _flip(content: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8)) if damaged else 0):
        # Half of all flips are in the first 512 bytes: headers decide what is read, and how much.
        damaged[generator.randrange(min(len(damaged), generator.choice((512, len(damaged)))))] ^= (
            1 << generator.randrange(8)
        )
    return bytes(damaged)


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content) + 1)]


def _slice(content: bytes, generator: random.Random) -> tuple[int, int]:
    start = generator.randrange(len(content) + 1)
    return start, min(len(content), start + generator.choice((1, 4, 16, 256, 4096)))


def _insert(content: bytes, generator: random.Random) -> bytes:
    start, end = _slice(content, generator)
    return content[:start] + generator.randbytes(end - start) + content[start:]


def _repeat(content: bytes, generator: random.Random) -> bytes:
    start, end = _slice(content, generator)
    return content[:end] + content[start:end] * generator.choice((1, 1, 2, 16)) + content[end:]


def _lose(content: bytes, generator: random.Random) -> bytes:
    start, end = _slice(content, generator)
    return content[:start] + content[end:]


def _fill(content: bytes, generator: random.Random) -> bytes:
    start, end = _slice(content, generator)
    return content[:start] + generator.choice((b"\0", b"\xff", b"9")) * (end - start) + content[end:]


def _overwrite_number(content: bytes, generator: random.Random) -> bytes:
    """An integer of the file, of one of the usual widths and either order of bytes, becomes a wild one."""
    width = generator.choice(WIDTHS)
    packed = struct.pack("<q", generator.choice(NUMBERS))[: struct.calcsize(width)]
    packed = packed if generator.random() < 0.5 else packed[::-1]
    start = generator.randrange(min(len(content), generator.choice((512, 1 << 30))) + 1)
    return content[:start] + packed + content[start + len(packed) :]


DAMAGES = (_flip, _flip, _cut, _insert, _repeat, _lose, _fill, _overwrite_number, _overwrite_number)

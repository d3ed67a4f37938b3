"""What an inference executed: how often each block of instructions ran, as counter.c writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from deploy_prune.errors import Unavailable

INSTRUCTION_DIGITS = 8
"""Hexadecimal digits of an AArch64 instruction."""


@dataclass(frozen=True)
class Counts:
    """One inference, block by block."""

    blocks: Mapping[str, int]
    """The code of a block, in hexadecimal as it lies in memory -> how often it ran."""
    instructions: int
    """How many instructions were executed in all."""


def read_counts(text: str) -> Counts:
    """Read what the plugin wrote.

    Raises:
        Unavailable: it is not whole, or contradicts itself.
    """
    blocks: Counter[str] = Counter()
    *lines, last = text.splitlines() or [""]
    try:
        for line in lines:
            count, code = line.split()
            blocks[code] += int(count)
        end, total = last.split()
        counts = Counts(blocks, int(total))
    except ValueError as error:
        raise _tell_unreadable(f"'{last[:40]}' is its last line") from error
    summed = sum(count * count_instructions(code) for code, count in blocks.items())
    if end != "end" or summed != counts.instructions:
        raise _tell_unreadable(f"its blocks have {summed:,} instructions, and it ends with '{last[:40]}'")
    return counts


def count_instructions(code: str) -> int:
    """How many instructions a block has."""
    return len(code) // INSTRUCTION_DIGITS


def choose_hot(counts: Counts, share: float) -> tuple[str, ...]:
    """The blocks that most instructions were executed in, as few as make up a share of all of them."""
    spent = {code: count * count_instructions(code) for code, count in counts.blocks.items()}
    hot: list[str] = []
    covered = 0
    for code in sorted(spent, key=lambda code: (-spent[code], code)):
        if covered >= share * counts.instructions:
            break
        hot.append(code)
        covered += spent[code]
    return tuple(hot)


def _tell_unreadable(reason: str) -> Unavailable:
    message = f"what the emulator counted cannot be read: {reason}"
    return Unavailable(message, hint="is the disk full, or QEMU another than 7 or 8?")

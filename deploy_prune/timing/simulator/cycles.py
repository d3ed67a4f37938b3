"""Prices what was executed in cycles of a core, by LLVM's model of it: no caches, no memory, no branch mispredicted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy_prune.errors import Unavailable
from deploy_prune.processes.programs import run_tool
from deploy_prune.timing.simulator.counts import Counts, choose_hot, count_instructions
from deploy_prune.timing.simulator.tools import Analyser

COVERED = 0.995
"""The share of all executed instructions that is priced block by block; the rest costs as much per instruction."""
LEAST_COVERED = 0.95
"""The share that LLVM must know a price for."""
ITERATIONS = 20
"""How often a block is thought to run in a row: hot blocks are loops."""
ATTRIBUTES = "+v8.2a,+dotprod,+fullfp16"
"""What the disassembler knows beside the base set: all that an emulated core has."""
_CYCLES = re.compile(r"^Total Cycles:\s+(\d+)$", re.MULTILINE)
_CALL = re.compile(r"^bl(r?)\b")


@dataclass(frozen=True, eq=False)
class Prices:
    """Cycles of blocks, each worked out once."""

    analyser: Analyser
    core: str
    """What LLVM calls the core, such as `cortex-a72`."""
    known: dict[str, float | None] = field(default_factory=dict)
    """A block's code -> cycles of one run of it; None: LLVM has no price for an instruction in it."""
    listings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """A block's code -> its instructions."""

    def add_up(self, counts: Counts) -> float:
        """Cycles of an inference.

        Raises:
            Unavailable: LLVM has no price for too much of it.
        """
        hot = choose_hot(counts, COVERED)
        self._price([code for code in hot if code not in self.known])
        priced = {code: cycles for code in hot if (cycles := self.known[code]) is not None}
        covered = sum(counts.blocks[code] * count_instructions(code) for code in priced)
        if covered < LEAST_COVERED * counts.instructions:
            message = (
                f"LLVM {self.analyser.version} has no price on {self.core} for {1 - covered / counts.instructions:.1%} "
                "of the instructions"
            )
            raise Unavailable(message, hint="count instructions instead: --device sim://CORE/instructions")
        return sum(counts.blocks[code] * cycles for code, cycles in priced.items()) * counts.instructions / covered

    def list_hot(self, counts: Counts) -> tuple[tuple[tuple[str, ...], int], ...]:
        """The instructions of the hot blocks, each with how often it ran."""
        hot = choose_hot(counts, COVERED)
        self._disassemble([code for code in hot if code not in self.listings])
        return tuple((self.listings[code], counts.blocks[code]) for code in hot)

    def _disassemble(self, codes: Sequence[str]) -> None:
        self.listings.update(disassemble(codes, self.analyser) if codes else {})

    def _price(self, codes: Sequence[str]) -> None:
        self._disassemble([code for code in codes if code not in self.listings])
        together = analyse([self.listings[code] for code in codes], self.analyser, self.core)
        if together is None:  # an instruction without a price ends the analysis of all
            alone = (analyse([self.listings[code]], self.analyser, self.core) for code in codes)
            self.known.update(zip(codes, (cycles[0] if cycles else None for cycles in alone), strict=True))
        else:
            self.known.update(zip(codes, together, strict=True))


def disassemble(codes: Sequence[str], analyser: Analyser) -> Mapping[str, tuple[str, ...]]:
    """The instructions of blocks.

    Raises:
        Unavailable: the disassembler knows less instructions than there are.
    """
    texts = [" ".join(f"0x{code[place : place + 2]}" for place in range(0, len(code), 2)) for code in codes]
    arguments = [analyser.disassembler, "--disassemble", "-triple=aarch64", f"-mattr={ATTRIBUTES}"]
    said = run_tool(arguments, given="\n".join(texts))
    lines = [line.strip().replace("\t", " ") for line in said.stdout.splitlines()]
    lines = [line for line in lines if line and not line.startswith(".")]
    if len(lines) != sum(map(count_instructions, codes)):
        reason = (said.stderr.strip().splitlines() or ["it said nothing"])[0]
        message = f"LLVM {analyser.version} cannot read the code of a block: {reason}"
        raise Unavailable(message, hint="take another version of LLVM, or sim://CORE/instructions")
    listings: dict[str, tuple[str, ...]] = {}
    place = 0
    for code in codes:
        listings[code] = tuple(lines[place : place + count_instructions(code)])
        place += count_instructions(code)
    return listings


def analyse(listings: Sequence[tuple[str, ...]], analyser: Analyser, core: str) -> tuple[float, ...] | None:
    """Cycles of one run of each block, where it runs many times in a row; None: there is no price for one of them."""
    if not listings:
        return ()
    regions = [
        "\n".join((f"# LLVM-MCA-BEGIN {number}", *map(_leave_calls_out, listing), "# LLVM-MCA-END"))
        for number, listing in enumerate(listings)
    ]
    views = ("--instruction-info=0", "--resource-pressure=0", f"-iterations={ITERATIONS}")
    said = run_tool([analyser.program, "-mtriple=aarch64", f"-mcpu={core}", *views], given="\n".join(regions) + "\n")
    cycles = read_cycles(said.stdout)
    return cycles if said.returncode == 0 and len(cycles) == len(listings) else None


def read_cycles(text: str) -> tuple[float, ...]:
    """Cycles of one run of each block, in their order, from what `llvm-mca` says of many in a row."""
    return tuple(int(cycles) / ITERATIONS for cycles in _CYCLES.findall(text))


def _leave_calls_out(instruction: str) -> str:
    """A jump in place of a call, for which LLVM would add a hundred cycles that stand for whatever is called."""
    return _CALL.sub(r"b\1", instruction)

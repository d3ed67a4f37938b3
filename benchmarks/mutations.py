"""Damaged inputs of every kind that is read: none may end in a fault of ours, take long, or take much memory.

    python -m benchmarks.mutations [--kinds image,tar] [--inputs N]

Every kind in `KINDS` has seeds, which are whole inputs, and a reader that opens one as a user would. Input number n of
a kind is always the same mutation of one of its seeds. Readers run in a forked process that is watched from outside, so
that one that hangs or grows without end is a row of the record and not the end of the benchmark. Rows of kinds that are
not asked for stay in the record as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import mutated_exports, mutated_tensors, mutated_texts
from benchmarks.mutated import Kind
from benchmarks.recording import RESULTS, read, write
from deploy_prune.errors import DeployPruneError, OurFault

KINDS: dict[str, Kind] = {**mutated_tensors.KINDS, **mutated_texts.KINDS, **mutated_exports.KINDS}
"""What is mutated, by name: a row has the maker of its seeds and its reader."""

LIMIT_S = 2.0
"""CPU seconds."""
LIMIT_MB = 500.0
GIVEN_UP_S = 20.0
"""Seconds of the clock, after which a reader is taken to hang."""
ADDRESS_SPACE_BYTES = 6 << 30
"""What a reader may map beside what the parent had mapped; one that asks for more meets a MemoryError."""
NAMED = 20
"""How many faults of a kind are in the record at the most."""


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    largest_mb: float = 0.0
    faults: list[str] = field(default_factory=list)
    """The number of an input, and what was wrong with it; the first `NAMED`."""
    wrong: int = 0
    """How many inputs ended in no error of ours, were slow, or took much memory."""

    def add(self, number: int, outcome: Outcome) -> None:
        """Count one input."""
        self.tried += 1
        self.outcomes[outcome.name] += 1
        self.slowest_s, self.largest_mb = max(self.slowest_s, outcome.seconds), max(self.largest_mb, outcome.megabytes)
        faults = [f"{outcome.name}: {outcome.message}"] * (not outcome.is_ours)
        faults += [f"{outcome.seconds:.1f} s"] * (outcome.seconds > LIMIT_S)
        faults += [f"{outcome.megabytes:.0f} MB"] * (outcome.megabytes > LIMIT_MB)
        if faults:
            self.wrong += 1
            self.faults += [f"{number}: {', '.join(faults)}"] * (len(self.faults) < NAMED)


@dataclass(frozen=True)
class Outcome:
    """How one input ended."""

    name: str
    """`read`, or the name of the error."""
    message: str
    is_ours: bool
    """Whether it was read, or refused by an error of ours that is no `OurFault`."""
    seconds: float
    """CPU seconds of all its threads: those of the clock would be the machine's, too."""
    megabytes: float
    """The most memory that was resident at once, less what was before."""


def main() -> int:
    """Try every input, print and record; exits 1 where one was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS), help="which kinds, with commas between them")
    parser.add_argument("--inputs", type=int, default=10_000, help="how many inputs of each kind")
    asked = parser.parse_args()
    rows: dict[str, Any] = read("mutations")["kinds"] if (RESULTS / "mutations.json").exists() else {}
    for name in asked.kinds.split(","):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            tally = try_kind(name, KINDS[name], range(asked.inputs), Path(folder))
        rows[name] = describe(tally, time.monotonic() - began)
        print(name, json.dumps(rows[name], indent=1), flush=True)
    result = {"limit_s": LIMIT_S, "limit_mb": LIMIT_MB, "kinds": dict(sorted(rows.items()))}
    print(write("mutations", "python -m benchmarks.mutations", result, ("torch", "pillow", "safetensors")))
    return int(any(row["wrong"] for row in rows.values()))


def describe(tally: Tally, seconds: float) -> dict[str, Any]:
    """The row of the record."""
    return {
        "inputs": tally.tried,
        "wrong": tally.wrong,
        "outcomes": dict(tally.outcomes.most_common()),
        "slowest_s": round(tally.slowest_s, 2),
        "largest_mb": round(tally.largest_mb),
        "faults": tally.faults,
        "seconds": round(seconds),
    }


def try_kind(name: str, kind: Kind, numbers: Sequence[int], folder: Path) -> Tally:
    """Let the kind's reader read these of its inputs, one after the other.

    Args:
        name: the kind's name, which decides with a number what the input is.
        kind: its seeds and reader.
        numbers: which inputs.
        folder: an empty folder, where seeds and inputs may be written.
    """
    seeds, tally = kind.make_seeds(folder), Tally()
    while tally.tried < len(numbers):
        left = numbers[tally.tried :]
        for number, outcome in zip(left, _watch(name, kind, seeds, left, folder), strict=False):
            tally.add(number, outcome)
    return tally


def mutate(name: str, number: int, kind: Kind, seeds: Sequence[bytes]) -> bytes:
    """Input number `number` of a kind."""
    generator = random.Random(f"{name}:{number}")
    return kind.mutate(generator.choice(seeds), generator)


def _watch(name: str, kind: Kind, seeds: Sequence[bytes], numbers: Sequence[int], folder: Path) -> Iterator[Outcome]:
    """The outcomes of a forked reader; it is ended when one input takes it too long, or grew it too much."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _read_all(name, kind, seeds, numbers, (folder, writing))
    os.close(writing)
    try:
        # Not through a buffer: `select` does not see the lines that wait in one.
        with os.fdopen(reading, "rb", buffering=0) as lines:
            while True:
                if not select.select([lines], [], [], GIVEN_UP_S)[0]:
                    yield Outcome("given up", "", is_ours=False, seconds=GIVEN_UP_S, megabytes=0.0)
                    return
                line = lines.readline()
                if not line:
                    yield Outcome("died", "", is_ours=False, seconds=0.0, megabytes=0.0)
                    return
                outcome = Outcome(**json.loads(line))
                yield outcome
                if outcome.megabytes > LIMIT_MB:
                    return
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _read_all(name: str, kind: Kind, seeds: Sequence[bytes], numbers: Sequence[int], ends: tuple[Path, int]) -> None:
    """In the forked process: a line per input, whatever happens."""
    folder, writing = ends
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # of ten thousand refusals each has its warnings
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE_BYTES,) * 2)
    try:
        for number in numbers:
            outcome = _read_one(lambda content: kind.read(folder, content), mutate(name, number, kind, seeds))
            os.write(writing, (json.dumps(outcome) + "\n").encode())
        signal.pause()  # the parent ends it, so that no handler of the parent's runs here
    finally:
        os._exit(1)


def _read_one(open_as_user: Callable[[bytes], object], content: bytes) -> Mapping[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is resident now
    before, began = _read_peak_mb(), time.process_time()
    name, message, is_ours = "read", "", True
    try:
        open_as_user(content)
    except DeployPruneError as error:
        name, message, is_ours = type(error).__name__, error.message, not isinstance(error, OurFault)
    except Exception as error:  # noqa: BLE001 (what it is is what is asked)
        name, message, is_ours = type(error).__name__, str(error), False
    seconds, megabytes = time.process_time() - began, _read_peak_mb() - before
    return {"name": name, "message": message[:200], "is_ours": is_ours, "seconds": seconds, "megabytes": megabytes}


def _read_peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())

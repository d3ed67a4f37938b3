"""Cuts that compute something else without a word: looked for in networks that look at their channels in every way.

    python -m benchmarks.silent_cuts [--networks 20000] [--processes 2]

Each network is a random chain of up to three of the parts in `tests/support/traps.py` (slices, branches and loops by
width, splits, shifts, pads, objects, training parts), at random widths of 8 and more. It is settled as `inspect` does,
cut at random widths as a run does, and held against the dense network with the removed channels at zero, in float64.
Every part by itself is tried at an even and an odd width first: there a lock must name a line of the part. Every 250
chains are a file under `results/silent_cuts/`, which a second call goes on after; a chain whose parts leave too little
of the image for the next is none. An hour on two idle cores.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import cell, stored

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

EXACT = 1e-9
ASKED, CHUNK = 20_000, 250
WIDTHS = (16, 13)
TABLE = "silent_cuts"


def main() -> int:
    """Try all; exits 1 where one network is cut wrongly, or locked without a line of the part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=ASKED)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    starts = range(0, options.networks, CHUNK)
    missing = [start for start in starts if stored(TABLE, _key(start)) is None]
    with ProcessPoolExecutor(options.processes, initializer=_be_alone) as pool:
        parts = None if stored(TABLE, "parts") else pool.submit(try_parts)
        for start, outcome in zip(missing, pool.map(try_chains, missing), strict=True):
            print(start, cell(TABLE, _key(start), partial(dict, outcome))["counts"], flush=True)
        whole = cell(TABLE, "parts", parts.result if parts else dict)
    return _record(whole, [each for start in starts if (each := stored(TABLE, _key(start)))], options.networks)


def _key(start: int) -> str:
    return f"chains-{start:05d}"


def _record(parts: dict[str, Any], chunks: Sequence[dict[str, Any]], networks: int) -> int:
    counts = sum((Counter(chunk["counts"]) for chunk in chunks), Counter())
    wrong = [name for chunk in chunks for name in chunk["wrong"]]
    worst = max(chunk["worst_error"] for chunk in chunks)
    chains = {"networks": networks - counts["too_small_to_run"], **counts, "worst_error": worst, "wrong": wrong}
    print(write("silent_cuts", "python -m benchmarks.silent_cuts", {"asked": ASKED, "parts": parts, "chains": chains}))
    return int(bool(wrong or parts["wrong"] or parts["without_its_line"]))


def _be_alone() -> None:
    import torch

    torch.set_num_threads(1)


def try_parts() -> dict[str, Any]:
    """Every part by itself, at an even and an odd width, three cuts each."""
    from laws import lively
    from traps import PARTS, build_trap, cut_as_a_run_does, list_lines

    from deploy_prune.graph.soundness import settle

    wrong, without_line, locked_parts = [], [], 0
    for name, part in PARTS.items():
        for width in WIDTHS:
            network = build_trap([(name, width)])
            graph = settle(network)
            lively(network.module)
            outcomes = [cut_as_a_run_does(network, graph, seed) for seed in range(3)]
            if any(error is not None and error > EXACT for _, error in outcomes):
                wrong.append(f"{name} ({width})")
            reasons = [
                group.locked
                for locked, _ in outcomes
                for group in locked.groups
                if group.locked and group.name.startswith("blocks.") and not group.name.endswith(".input")
            ]
            locked_parts += bool(reasons)
            if any(not any(line in reason for line in list_lines(part)) for reason in reasons):
                without_line.append(f"{name} ({width})")
    tried = len(PARTS) * len(WIDTHS)
    return {"parts": len(PARTS), "tried": tried, "locked": locked_parts, "wrong": wrong,
            "without_its_line": without_line}  # fmt: skip


def try_chains(start: int) -> dict[str, Any]:
    """The networks from this number on."""
    from laws import lively
    from traps import cut_as_a_run_does, draw_trap, runs

    from deploy_prune.graph.soundness import settle

    counts, wrong, worst = Counter[str](), [], 0.0
    for number in range(start, start + CHUNK):
        network = draw_trap(number)
        if not runs(network):
            counts["too_small_to_run"] += 1
            continue
        graph = settle(network)
        lively(network.module)
        locked, error = cut_as_a_run_does(network, graph, number)
        free = [group for group in graph.groups if group.locked is None]
        counts["with_a_lock"] += any(
            group.locked and group.name.startswith("blocks.") and not group.name.endswith(".input")
            for group in locked.groups
        )
        counts["locked_by_the_plan_alone"] += len(locked.free) < len(free)
        counts["not_finite"] += error is None
        worst = max(worst, error or 0.0)
        if error is not None and error > EXACT:
            wrong.append(f"{number}: {network.address} ({error:.1e})")
    return {"counts": dict(counts), "wrong": wrong, "worst_error": worst}


if __name__ == "__main__":
    sys.exit(main())

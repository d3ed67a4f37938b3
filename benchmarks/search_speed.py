"""Candidates per minute of our LeGR search against the authors' procedure, and where the difference comes from.

    python -m benchmarks.search_speed [--only NETWORK ...]

The first row is their procedure, written anew from its description: the module is read from disk for every candidate,
the pruner is made anew (a forward pass that counts, before and after), units are removed one by one with the cost
counted again, and images go through torchvision's transforms in a DataLoader each time. Each row below removes one of
these; the last is the product's search with a worker per core, and below it stands what the machine's arithmetic
allows: as many MACs in one matrix product. Every row judges the same candidates on the same 1,000 validation images in
fp32 after norms were measured anew on the same 500 training images, two threads in all. ResNet-56 and MobileNetV2 at
32 x 32 (CIFAR-10, half the MACs), without and with 20 steps of training per candidate; rows take turns. Gates: 5x at 0
steps, 2x at 20. Every table is a file under `results/search_speed/`. Half an hour on two idle cores.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.authors_search import BUDGET, EXAM, ROWS, Bench, Ways, judge_one, make_plain
from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import Pruned, images
from deploy_prune import plugins
from deploy_prune.scoring.evolution.affine_ranking import ranking_of
from deploy_prune.scoring.evolution.ageing import Genome
from deploy_prune.train.fitness import judge_candidate, prepare_examiner
from deploy_prune.values import Data, Scores

TABLE = "search_speed"
NETWORKS = ("resnet56", "mobilenet_v2")
STEPS = (0, 20)
TURNS = 3
CANDIDATES = {0: 6, 20: 2}
"""How many candidates are judged, by steps."""
GATES = {0: 5.0, 20: 2.0}
THREADS = 2


PARALLEL = "a worker per core"
ROOF = "the same MACs as one matrix product"
SIDE = 2048
"""The side of the matrices whose product shows how fast this machine multiplies."""


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a gate fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=list(NETWORKS), metavar="NETWORK")
    asked = parser.parse_args()
    data, torch_threads = images(), torch.get_num_threads()
    torch.set_num_threads(THREADS)
    for name, steps in itertools.product(asked.only, STEPS):
        cell(TABLE, _key(name, steps), partial(_rows, name, data, steps))
    for name in asked.only:
        cell(TABLE, _key(name, "product"), partial(_roof, name, data))
    torch.set_num_threads(torch_threads)
    return _written()


def _key(name: str, what: int | str) -> str:
    return f"{name}-{what}"


def _written() -> int:
    roofs = {name: roof for name in NETWORKS if (roof := stored(TABLE, _key(name, "product")))}
    cells = {key: rows for key in itertools.product(roofs, STEPS) if (rows := stored(TABLE, _key(*key)))}
    tables = {
        f"{name}, {steps} steps": {
            "rows": {**rows, ROOF: _under(roofs[name], rows, steps)},
            "gate": rows[PARALLEL]["faster"] >= GATES[steps],
        }
        for (name, steps), rows in cells.items()
    }
    result = {"exam": vars(EXAM), "candidates": CANDIDATES, "turns": TURNS, "gates": GATES, "tables": tables}
    print(write(TABLE, "python -m benchmarks.search_speed", result, ("torch", "torchvision")))
    return int(not all(table["gate"] for table in tables.values()))


def _rows(name: str, data: Data, steps: int) -> dict[str, Any]:
    subject = Pruned.of(name, data)
    exam = replace(EXAM, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "module.pt"
        torch.save(subject.network.module, file)
        prepared = prepare_examiner(subject.network, subject.graph, data, exam)
        bench = Bench(subject, prepared, make_plain(prepared), _candidates(subject, steps), file)
        rows: dict[str, Callable[[], float]] = {
            row: partial(_one_after_the_other, bench, ways) for row, ways in ROWS.items()
        }
        rows[PARALLEL] = partial(_parallel, bench)
        seconds: dict[str, list[float]] = {row: [] for row in rows}
        for turn in range(TURNS):
            for row, run in rows.items():
                seconds[row].append(run())
                print(name, steps, turn, row, f"{seconds[row][-1]:.1f} s", flush=True)
    first = seconds[next(iter(ROWS))]
    return {
        row: {
            "per_minute": 60 * CANDIDATES[steps] / median(taken),
            "faster": median(base / each for base, each in zip(first, taken, strict=True)),
        }
        for row, taken in seconds.items()
    }


def _roof(name: str, data: Data) -> dict[str, Any]:
    """MACs of a candidate's image, and how many a second one large matrix product gets through."""
    subject = Pruned.of(name, data)
    cost = subject.cost()
    limit = BUDGET * subject.whole(cost)
    kept = [subject.keep(scores, cost, limit) for scores in _candidates(subject, 0)]
    macs = [float(cost(np.array([len(keep[group.name]) for group in subject.graph.free]))) for keep in kept]
    square = torch.rand(SIDE, SIDE)
    torch.mm(square, square)
    seconds = []
    for _ in range(5 * TURNS):
        began = time.monotonic()
        torch.mm(square, square)
        seconds.append(time.monotonic() - began)
    return {"macs": float(np.mean(macs)), "macs_per_second": SIDE**3 / min(seconds)}


def _under(roof: dict[str, Any], rows: dict[str, Any], steps: int) -> dict[str, float]:
    """Were a candidate nothing but its MACs, at the rate of that product; an image of a step counts three times."""
    passes = EXAM.images + EXAM.norm_images + 3 * steps * EXAM.batch_size
    per_minute = 60 * roof["macs_per_second"] / (roof["macs"] * passes)
    return {"per_minute": per_minute, "faster": per_minute / rows[next(iter(ROWS))]["per_minute"]}


def _candidates(subject: Pruned, steps: int) -> list[Scores]:
    ranking = ranking_of(subject.network, subject.graph)
    drawn, groups = np.random.default_rng(0), len(ranking.sizes)
    return [
        ranking.scores(Genome(np.exp(drawn.normal(0, 1, groups)), drawn.normal(0, 1, groups) * ranking.deviation))
        for _ in range(CANDIDATES[steps])
    ]


def _one_after_the_other(bench: Bench, ways: Ways) -> float:
    """Seconds of all candidates."""
    began = time.monotonic()
    for scores in bench.candidates:
        judge_one(bench, scores, ways)
    return time.monotonic() - began


def _parallel(bench: Bench) -> float:
    """The same, as the product searches; starting the processes belongs to a search, not to a candidate."""
    cost = bench.subject.cost()
    limit = BUDGET * bench.subject.whole(cost)
    rounds = 3
    keeps = (bench.subject.keep(scores, cost, limit) for scores in (*bench.candidates,) * rounds)
    results = plugins.build("workers", "local", {"processes": THREADS}).map(
        judge_candidate, bench.prepared, keeps, ahead=8
    )
    for _ in range(THREADS):
        next(results)
    began = time.monotonic()
    judged_since = len(list(results))
    return (time.monotonic() - began) * len(bench.candidates) / judged_since


if __name__ == "__main__":
    sys.exit(main())

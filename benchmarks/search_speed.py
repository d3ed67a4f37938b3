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
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import Pruned, images
from deploy_prune import plugins
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.evolution.affine_ranking import ranking_of
from deploy_prune.scoring.evolution.ageing import Genome
from deploy_prune.sources.data import list_strata
from deploy_prune.train.few_steps import tune
from deploy_prune.train.fitness import Exam, Examiner, judge, judge_candidate, prepare_examiner
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.recipe import Batch
from deploy_prune.values import Data, ImageSet, Network, Scores

TABLE = "search_speed"
NETWORKS = ("resnet56", "mobilenet_v2")
STEPS = (0, 20)
BUDGET = 0.5
EXAM = Exam(images=1000, norm_images=500, batch_size=128)
TURNS = 3
CANDIDATES = {0: 6, 20: 2}
"""How many candidates are judged, by steps."""
GATES = {0: 5.0, 20: 2.0}
THREADS = 2


@dataclass(frozen=True)
class Ways:
    """What a row still does the slow way."""

    reads_module: bool = False
    makes_pruner: bool = False
    removes_one_by_one: bool = False
    loads_images: bool = False
    plain_arithmetic: bool = False


ROWS: dict[str, Ways] = {
    "the authors' procedure": Ways(True, True, True, True, True),
    "weights stay in memory": Ways(False, True, True, True, True),
    "the pruner is made once": Ways(False, False, True, True, True),
    "allocation by bisection": Ways(False, False, False, True, True),
    "images are prepared once": Ways(False, False, False, False, True),
    "channels last, norms folded, batches of 50": Ways(),
}
PARALLEL = "a worker per core"
ROOF = "the same MACs as one matrix product"
SIDE = 2048
"""The side of the matrices whose product shows how fast this machine multiplies."""


class Pictures(Dataset):  # type: ignore[type-arg]
    """Images as a DataLoader reads them: one by one, transformed each time."""

    def __init__(self, split: ImageSet, chosen: np.ndarray, transform: Any) -> None:
        self.split, self.chosen, self.transform = split, chosen, transform
        self.labels = list_strata(split)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        from PIL import Image

        number = self.chosen[place : place + 1]
        return self.transform(Image.fromarray(self.split.read(number)[0])), int(self.labels[number[0]])


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows work on."""

    subject: Pruned
    prepared: Examiner
    plain: Examiner
    """The same images, channels first."""
    candidates: Sequence[Scores]
    file: Path

    @property
    def data(self) -> Data:
        """The data of the subject."""
        return self.subject.data


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
        bench = Bench(subject, prepared, _plain(prepared), _candidates(subject, steps), file)
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
        _judge(bench, scores, ways)
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


def _judge(bench: Bench, scores: Scores, ways: Ways) -> float:
    network, graph = bench.subject.network, bench.subject.graph
    if ways.reads_module:
        content = io.BytesIO(bench.file.read_bytes())
        network = replace(network, module=torch.load(content, weights_only=False))
    if ways.makes_pruner:
        _counted(network)
        graph = trace(network)
    cost = plugins.build("costs", "macs").model(graph)
    limit = BUDGET * bench.subject.whole(cost)
    keep = (
        _one_by_one(graph, scores, cost, limit) if ways.removes_one_by_one else bench.subject.keep(scores, cost, limit)
    )
    if not ways.plain_arithmetic:
        return judge_candidate(replace(bench.prepared, network=network, graph=graph), keep).loss
    small = cut(network, graph, keep)
    if ways.makes_pruner:
        _counted(small)
    return _judged_from_disk(bench, small) if ways.loads_images else _judged_from_memory(bench.plain, small)


def _counted(network: Network) -> int:
    """MACs, by a forward pass of one image past a hook on every layer."""
    macs = []

    def count(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del inputs
        macs.append(part.weight[0].numel() * output[0].numel())  # type: ignore[union-attr,operator,index]

    layers = [part for part in network.module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    handles = [part.register_forward_hook(count) for part in layers]
    with torch.no_grad():
        network.module.eval()(torch.zeros(1, *network.input_shape))
    for handle in handles:
        handle.remove()
    return sum(macs)


def _plain(prepared: Examiner) -> Examiner:
    """Channels first, and in batches as large as a step's."""

    def first(batch: Batch) -> Batch:
        return Batch(batch.images.contiguous(), batch.target)

    whole = first(Batch(*map(torch.cat, zip(*prepared.judged_on, strict=True))))
    parts = zip(whole.images.split(128), whole.target.split(128), strict=True)
    return replace(
        prepared, judged_on=tuple(itertools.starmap(Batch, parts)), tuned_on=tuple(map(first, prepared.tuned_on)),
        norms_on=torch.cat(prepared.norms_on).contiguous().split(128),
    )  # fmt: skip


def _judged_from_memory(prepared: Examiner, small: Network) -> float:
    if prepared.steps:
        batches = itertools.islice(itertools.cycle(prepared.tuned_on), prepared.steps)
        tune(small, batches, steps=prepared.steps, lr=prepared.lr)
    module = measure_norms(small.module, prepared.norms_on)
    return judge(module, prepared.judged_on, prepared.loss, prepared.metric)[0]


def _one_by_one(graph: Any, scores: Scores, cost: Any, limit: float) -> dict[str, tuple[int, ...]]:
    """Ascending by score, floors respected, the cost counted anew after every removal."""
    left = {group.name: set(range(group.width)) for group in graph.free}
    floors = {group.name: max(2, -(-group.width // 10)) for group in graph.free}
    ranked = sorted((float(value), name, unit) for name, values in scores.by_group.items()
                    for unit, value in enumerate(values))  # fmt: skip
    for _, name, unit in ranked:
        if len(left[name]) > floors[name]:
            left[name].discard(unit)
            if float(cost(np.array([len(left[group.name]) for group in graph.free]))) <= limit:
                break
    return {name: tuple(sorted(units)) for name, units in left.items()}


def _judged_from_disk(bench: Bench, small: Network) -> float:
    """Images read, augmented and normalised anew."""
    data, prepared = bench.data, bench.prepared
    finish = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    plain = transforms.Compose(finish)
    augmented = transforms.Compose(
        [transforms.RandomCrop(data.image_shape[1], data.crop_padding), transforms.RandomHorizontalFlip(), *finish]
    )
    total = len(data.train)
    if prepared.steps:
        chosen = np.random.default_rng(0).permutation(total)[: prepared.steps * 128]
        tune(small, _batches(data.train, chosen, augmented), steps=prepared.steps, lr=prepared.lr)
    chosen = np.random.default_rng(0).permutation(total)[: EXAM.norm_images]
    module = measure_norms(small.module, (batch.images for batch in _batches(data.train, chosen, augmented)))
    val = np.linspace(0, len(data.val) - 1, EXAM.images).astype(int)
    return judge(module, list(_batches(data.val, val, plain)), prepared.loss, prepared.metric)[0]


def _batches(split: ImageSet, chosen: np.ndarray, transform: Any, *, size: int = 128) -> Any:
    loader = DataLoader(Pictures(split, chosen, transform), batch_size=size)
    return itertools.starmap(Batch, loader)


if __name__ == "__main__":
    sys.exit(main())

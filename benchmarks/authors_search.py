"""How one candidate of a LeGR search is judged: as the authors' procedure does it, and with each of its costs left out.

The procedure is written anew from its description; `benchmarks.search_speed` times it.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.trained import Pruned
from deploy_prune import plugins
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.sources.data import list_strata
from deploy_prune.train.few_steps import tune
from deploy_prune.train.fitness import Exam, Examiner, judge, judge_candidate
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.recipe import Batch
from deploy_prune.values import Data, ImageSet, Network, Scores

BUDGET = 0.5
EXAM = Exam(images=1000, norm_images=500, batch_size=128)


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


def judge_one(bench: Bench, scores: Scores, ways: Ways) -> float:
    """The loss of one candidate; the costs of `ways` are paid on the way to it."""
    network, graph = bench.subject.network, bench.subject.graph
    if ways.reads_module:
        content = io.BytesIO(bench.file.read_bytes())
        network = replace(network, module=torch.load(content, weights_only=False))
    if ways.makes_pruner:
        _count_macs(network)
        graph = trace(network)
    cost = plugins.build("costs", "macs").model(graph)
    limit = BUDGET * bench.subject.whole(cost)
    keep = (
        _remove_one_by_one(graph, scores, cost, limit)
        if ways.removes_one_by_one
        else bench.subject.keep(scores, cost, limit)
    )
    if not ways.plain_arithmetic:
        return judge_candidate(replace(bench.prepared, network=network, graph=graph), keep).loss
    small = cut(network, graph, keep)
    if ways.makes_pruner:
        _count_macs(small)
    return _judge_from_disk(bench, small) if ways.loads_images else _judge_from_memory(bench.plain, small)


def _count_macs(network: Network) -> int:
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


def make_plain(prepared: Examiner) -> Examiner:
    """Channels first, and in batches as large as a step's."""

    def first(batch: Batch) -> Batch:
        return Batch(batch.images.contiguous(), batch.target)

    whole = first(Batch(*map(torch.cat, zip(*prepared.judged_on, strict=True))))
    parts = zip(whole.images.split(128), whole.target.split(128), strict=True)
    return replace(
        prepared, judged_on=tuple(itertools.starmap(Batch, parts)), tuned_on=tuple(map(first, prepared.tuned_on)),
        norms_on=torch.cat(prepared.norms_on).contiguous().split(128),
    )  # fmt: skip


def _judge_from_memory(prepared: Examiner, small: Network) -> float:
    if prepared.steps:
        batches = itertools.islice(itertools.cycle(prepared.tuned_on), prepared.steps)
        tune(small, batches, steps=prepared.steps, lr=prepared.lr)
    module = measure_norms(small.module, prepared.norms_on)
    return judge(module, prepared.judged_on, prepared.loss, prepared.metric)[0]


def _remove_one_by_one(graph: Any, scores: Scores, cost: Any, limit: float) -> dict[str, tuple[int, ...]]:
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


def _judge_from_disk(bench: Bench, small: Network) -> float:
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

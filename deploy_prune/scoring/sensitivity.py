"""How the quality falls as one group alone is cut: to look at before trusting anything."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy_prune.errors import ConfigError, Diverged
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.graph.soundness import settle
from deploy_prune.processes.workers import Workers
from deploy_prune.scoring.top_units import best_units
from deploy_prune.second_try import try_twice
from deploy_prune.train.fitness import Exam, Fitness, judge_candidate, prepare_examiner
from deploy_prune.values import Data, Network, Progress, Scores, told_in_lines

SHARES = (0.75, 0.5, 0.25, 0.125)
AHEAD = 16
USUAL = Exam()


@dataclass(frozen=True)
class Width:
    """One group at one width, all others whole, not trained afterwards."""

    kept: int
    """How many units the group keeps."""
    value: float
    """The quality on the validation images."""
    loss: float
    """The mean loss on the validation images."""


@dataclass(frozen=True)
class GroupCurve:
    """One group from its dense width down."""

    name: str
    width: int
    """How many units the group has in the dense network."""
    points: tuple[Width, ...]
    """What the network is worth at each width, the widest first."""


@dataclass(frozen=True)
class Sensitivity:
    """How the quality falls along every free group, and what it is in the dense network."""

    address: str
    images: int
    """How many validation images every network is judged on."""
    quality: str
    """What the values are, such as `top-1`."""
    value: float
    """The dense network's quality on the same images, its norms measured anew as the others'."""
    loss: float
    """The dense network's mean loss on the same images."""
    curves: tuple[GroupCurve, ...]
    """A curve per free group, in the graph's order."""
    seconds: float
    """How long all of it took."""


def sensitivity(
    network: Network,
    data: Data,
    workers: Workers,
    *,
    shares: Sequence[float] = SHARES,
    exam: Exam = USUAL,
    progress: Progress = told_in_lines,
) -> Sensitivity:
    """Cut each free group alone to several widths, keeping the units with the largest filters, and judge.

    Raises:
        ConfigError: a share that is not between 0 and 1.
        DataError: network and data do not belong together.
        Diverged: the network, whole or cut, gives NaN.
        WorkerDied: a worker was killed, twice.
    """
    if not shares or any(not 0 < share < 1 for share in shares):
        raise ConfigError(f"shares {list(shares)} are not between 0 and 1", hint="write 0.75,0.5,0.25")
    began = time.monotonic()
    graph = settle(network)
    asked = [(group.name, kept) for group in graph.free for kept in _widths(group.width, shares)]
    scores = Scores(filter_norms(network.module, graph, power=2))
    prepared = prepare_examiner(network, graph, data, exam)

    def judge() -> list[Fitness]:
        results: list[Fitness] = []
        for result in workers.map(judge_candidate, prepared, _plans(asked, scores), ahead=AHEAD):
            results.append(result)
            progress("sensitivity", len(results), len(asked) + 1)
        return results

    dense, *rest = try_twice(judge)
    _refuse_lost(network, "as it is", dense)
    for (name, kept), result in zip(asked, rest, strict=True):
        _refuse_lost(network, f"with {kept} units of '{name}'", result)
    points: dict[str, list[Width]] = {group.name: [] for group in graph.free}
    for (name, kept), result in zip(asked, rest, strict=True):
        points[name].append(Width(kept, result.value, result.loss))
    curves = tuple(GroupCurve(group.name, group.width, tuple(points[group.name])) for group in graph.free)
    images = sum(len(batch.images) for batch in prepared.judged_on)
    return Sensitivity(
        network.address, images, prepared.quality, dense.value, dense.loss, curves, time.monotonic() - began
    )


def _refuse_lost(network: Network, cut: str, result: Fitness) -> None:
    if not math.isfinite(result.loss):
        message = f"{network.address} gives NaN or infinity {cut}"
        raise Diverged(message, hint="its training diverged: take other weights")


def _widths(width: int, shares: Sequence[float]) -> list[int]:
    """The widths to try, descending, each once, 2 at the least: 12, 8, 4, 2 of 16."""
    return sorted({max(min(2, width), round(share * width)) for share in shares} - {width}, reverse=True)


def _plans(asked: Sequence[tuple[str, int]], scores: Scores) -> Iterator[dict[str, tuple[int, ...]]]:
    """The plans to judge: the dense network first, then one group at a time."""
    yield {}
    for name, kept in asked:
        yield dict(best_units(Scores({name: scores.by_group[name]}), {name: kept}))

"""Which judge of a search ranks plans as a training of them does, and how many it judges a minute.

    python -m benchmarks.judges [--truth NAME | --table] [--networks NAME ...] [--only JUDGE ...]

40 plans a network, all at half the MACs: LeGR's own random candidates, 30 by filter norms and 10 by OBS. The truths
are the test accuracies of what a run makes of them: cut and refitted, and then trained, 10,000 images x 3. Each judge
gives a loss per plan; Spearman's rank correlation with an accuracy has a bootstrapped interval over plans. Every cell
is a file under `results/judges/`. The refits of a network take a quarter of an hour on one core, its trainings hours.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, Pruned, images, judged, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.scoring.evolution.affine_ranking import Ranking, ranking_of
from deploy_prune.scoring.evolution.ageing import Breeding, Evolution
from deploy_prune.scoring.obs.maps import measure_maps
from deploy_prune.scoring.obs.readings import Sampling
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.fitness import Exam, judge, judge_candidate, prepare_examiner
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import measure_norms
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images, refitted
from deploy_prune.values import Keep, Network, Scores

TABLE = "judges"
NETWORKS = ("resnet20", "mobilenet_v2_72")
BUDGET = 0.5
BY_NORM, BY_OBS = 30, 10
JUDGED, NORMS, REFIT = 1000, 500, 100
RESAMPLED = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """A network, its plans, and what OBS says that each unit loses."""

    name: str
    pruned: Pruned
    losses: Scores
    plans: tuple[Keep, ...]

    @staticmethod
    def of(name: str) -> Field:
        """Draw the plans."""
        pruned = Pruned.of(name, images())
        cost = pruned.cost()
        limit = BUDGET * pruned.whole(cost)
        losses: Scores = plugins.build("methods", "obs").score(pruned.study(cost, limit, seed=0))
        rankings = (
            (ranking_of(pruned.network, pruned.graph), BY_NORM),
            (Ranking({group.name: losses.by_group[group.name] for group in pruned.graph.free}, additive=True), BY_OBS),
        )
        plans = [pruned.keep(scores, cost, limit) for each, count in rankings for scores in _draw(each, count)]
        return Field(name, pruned, losses, tuple(plans))


def _draw(ranking: Ranking, count: int) -> Iterator[Scores]:
    """The candidates that change nothing, and random ones, as LeGR's first population."""
    evolution = Evolution(Breeding(count, count), ranking.deviation, 0, ranking.centre)
    for number in range(count):
        yield ranking.scores(evolution.propose(number).genome)


def main() -> int:
    """Work out the cells that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parser.add_argument("--only", nargs="*", default=list(JUDGES), choices=list(JUDGES), metavar="JUDGE")
    parser.add_argument("--truth", choices=list(TRUTHS), help="work out this truth alone")
    parser.add_argument("--table", action="store_true", help="work nothing out, write the table of the cells there are")
    wanted = parser.parse_args()
    for name in () if wanted.table else wanted.networks:
        field = Field.of(name)
        if wanted.truth:
            for number in range(len(field.plans)):
                key = f"{name}-{wanted.truth}-{number}"
                seconds_told(key, cell(TABLE, key, partial(TRUTHS[wanted.truth], field, number)))
            continue
        for asked in wanted.only:
            key = f"{name}-{asked.replace(' ', '_')}"
            seconds_told(key, cell(TABLE, key, partial(_judge_all, field, asked)))
    tables = {name: rows for name in NETWORKS if (rows := _list_rows(name))}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"data": DATA, "budget": BUDGET, "tables": tables}))
    return 0


def _refit(field: Field, number: int) -> Network:
    """What a run makes of a plan before it trains."""
    return refit_best(_cut(field, field.plans[number]), field.pruned.data, RefitPlan(0))[0]


def _judge_refitted(field: Field, number: int) -> dict[str, Any]:
    data = field.pruned.data
    return {"test": evaluate(_refit(field, number), data.test, data).value}


def _judge_trained(field: Field, number: int) -> dict[str, Any]:
    data = field.pruned.data
    return judged(fit(_refit(field, number), data, recipe(0, precision="auto")), data, {})


TRUTHS: dict[str, Callable[[Field, int], dict[str, Any]]] = {"refitted": _judge_refitted, "trained": _judge_trained}


def _cut(field: Field, keep: Keep) -> CutNetwork:
    pruned = field.pruned
    small = cut(pruned.network, pruned.graph, keep)
    return CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))


def _judge_all(field: Field, asked: str) -> dict[str, Any]:
    began = time.perf_counter()
    ask = JUDGES[asked](field)
    prepared_s = time.perf_counter() - began
    losses, seconds = list[float](), list[float]()
    for keep in field.plans:
        began = time.perf_counter()
        losses.append(ask(keep))
        seconds.append(time.perf_counter() - began)
    return {"losses": losses, "seconds": seconds, "prepared_s": prepared_s}


# --- judges: a field -> what gives a plan its loss ---------------------------------------------------------------

Ask = Callable[[Keep], float]


def _by_exam(field: Field, **exam: Any) -> Ask:
    pruned = field.pruned
    asked = Exam(images=JUDGED, **({"norm_images": NORMS} | exam))
    prepared = prepare_examiner(pruned.network, pruned.graph, pruned.data, asked, seed=0)
    return lambda keep: judge_candidate(prepared, keep).loss


def _by_maps(field: Field, **exam: Any) -> Ask:
    """Cut layers mapped from what they read in the dense network."""
    pruned = field.pruned
    asked = Exam(images=JUDGED, **({"norm_images": NORMS} | exam))
    prepared = prepare_examiner(pruned.network, pruned.graph, pruned.data, asked, seed=0)
    seen = draw_refit_images(pruned.data, RefitSettings())
    maps = measure_maps(pruned.network, pruned.graph, seen, Sampling())
    return lambda keep: judge_candidate(dataclasses.replace(prepared, maps=maps), keep).loss


def _by_curves(field: Field) -> Ask:
    """What the units that go lose by OBS, summed: no network is run at all."""

    def ask(keep: Keep) -> float:
        gone = {name: np.setdiff1d(np.arange(len(each)), keep[name]) for name, each in field.losses.by_group.items()}
        return float(sum(field.losses.by_group[name][units].sum() for name, units in gone.items()))

    return ask


def _by_refit(field: Field) -> Ask:
    """Every layer solved once, front to back, on few images."""
    pruned = field.pruned
    settings = RefitSettings(images=REFIT, ridges=(0.1,))
    seen = draw_refit_images(pruned.data, settings)
    exam = Exam(images=JUDGED, norm_images=NORMS)
    prepared = prepare_examiner(pruned.network, pruned.graph, pruned.data, exam, seed=0)

    def ask(keep: Keep) -> float:
        again, _ = refitted(_cut(field, keep), seen, settings=settings)
        module = measure_norms(again.module, prepared.norms_on)
        return judge(module, prepared.judged_on, prepared.loss, prepared.metric)[0]

    return ask


JUDGES: dict[str, Callable[[Field], Ask]] = {
    "norms": _by_exam,
    "20 steps": partial(_by_exam, steps=20, lr=0.05),
    "100 steps": partial(_by_exam, steps=100, lr=0.05),
    "curves": _by_curves,
    "maps": partial(_by_maps, norm_images=0),
    "maps, norms": _by_maps,
    "refit": _by_refit,
}


def _list_rows(name: str) -> dict[str, Any]:
    """Judge -> its rank correlation with each truth, with an interval, and its seconds per plan."""
    truths = {truth: _read_truth(name, truth) for truth in TRUTHS}
    rows: dict[str, Any] = {}
    for asked in JUDGES:
        if told := stored(TABLE, f"{name}-{asked.replace(' ', '_')}"):
            losses = np.array(told["losses"])
            rows[asked] = {
                "median_s": float(np.median(told["seconds"])), "prepared_s": told["prepared_s"],
                **{truth: {"spearman": _correlate(-losses, after), "its_best": float(after[losses.argmin()]),
                           "best": float(after.max())}
                   for truth, after in truths.items() if after is not None},
            }  # fmt: skip
    return rows


def _read_truth(name: str, truth: str) -> np.ndarray | None:
    """The test accuracy of every plan; None: some are missing."""
    cells = [stored(TABLE, f"{name}-{truth}-{number}") for number in range(BY_NORM + BY_OBS)]
    return np.array([each["test"] for each in cells if each]) if all(cells) else None


def _correlate(judged_by: np.ndarray, after: np.ndarray) -> list[float]:
    """Spearman's rank correlation, and a 95 % interval over plans drawn with replacement."""
    from scipy.stats import spearmanr

    generator, drawn = np.random.default_rng(0), list[float]()
    for _ in range(RESAMPLED):
        chosen = generator.integers(0, len(after), len(after))
        drawn.append(float(spearmanr(judged_by[chosen], after[chosen]).statistic))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return [float(spearmanr(judged_by, after).statistic), float(low), float(high)]


if __name__ == "__main__":
    sys.exit(main())

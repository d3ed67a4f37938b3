"""LeGR: a ranking of all units that is learnt once, for any number of budgets (Chin et al., arXiv 1904.12368).

A unit scores scale_g x ||filter||_2^2 + shift_g, one pair per group g; the pairs are found by ageing evolution, whose
fitness is the loss on validation images of the network that is really cut under the tightest budget. Where we differ
from the released code: several layers that make one group share a pair, and the size of their unit is the mean of its
filters' (there: a pair per layer, and the sum), so that a search decides how many units stay and norms decide which;
norms are measured anew before a candidate is judged; images come from validation; candidates are physically small;
milliseconds can be the budget; the first population also has a candidate that treats all groups alike; random scales
are drawn around those that make all groups' mean sizes equal (there: around 1); the rate of steps falls to 0; a
candidate whose plan was proposed before is drawn again, as one group's map often changes no plan.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from deploy_prune import plugins
from deploy_prune.errors import BudgetError, ConfigError
from deploy_prune.evolution import Breeding, Candidate, Evolution, Genome
from deploy_prune.findings import Tried
from deploy_prune.fitness import Exam, Examiner, Fitness, examiner, fitness
from deploy_prune.magnitudes import squared_norms
from deploy_prune.methods import Study
from deploy_prune.searching import Journal, digest
from deploy_prune.train.state import fingerprint
from deploy_prune.values import ChannelGraph, Network, Scores
from deploy_prune.workers import Workers

logger = logging.getLogger(__name__)

Keep = Mapping[str, tuple[int, ...]]
BLIND_STEPS, SIGHT = 100, 1 / 4
"""Where a network right after the cut has less than this share of the dense one's accuracy, losses tell nothing."""
DRAWS = 20
"""At the most, to find a candidate whose plan is new."""


@dataclass(frozen=True)
class Legr:
    """The search's settings; the defaults suit a small network, a larger one wants more candidates and images."""

    candidates: int = 150
    population: int = 32
    tournament: int = 8
    mutation: float = 0.1
    reduce: Literal["mean", "sum"] = "mean"
    """Over the layers that make a unit; `sum` as the released code, which spares long residual chains."""
    images: int = 1000
    """Of validation, that a candidate is judged on."""
    norm_images: int = 500
    """Of training, to measure norms on; 0 as the released code, which rewards norms that fit by chance."""
    steps: int | None = None
    """Of training before a candidate is judged; None: 0 where a network still sees right after the cut, else 100."""
    lr: float = 0.05
    lag: int = 8
    """A candidate is bred from results that are so many candidates old: as many workers have something to do."""
    patience: int = 0
    """Stop after so many candidates that were no better than the best; 0: never."""

    def __post_init__(self) -> None:
        if self.reduce not in ("mean", "sum"):
            raise ConfigError(f"method 'legr' has no reduce {self.reduce!r}", hint="known: mean, sum")
        if self.lag < 1 or min(self.images, self.norm_images + 1, (self.steps or 0) + 1, self.patience + 1) < 1:
            raise ConfigError("method 'legr': lag and images must be 1 or more, the other numbers not negative")
        self.breeding()

    def score(self, study: Study) -> Scores:
        """The best ranking that the search finds.

        Raises:
            ConfigError: no images, no budget to search under, or no candidate with a loss.
            BudgetError: the search has collapsed: all candidates are one plan.
        """
        data = study.images("legr")
        if study.plan is None:
            raise ConfigError("method 'legr' searches under a budget, and there is none", hint="give a budget")
        described = (study.network.address, data.name, study.seed, self)
        journal = Journal.of(study.folder, fingerprint(study.network.module, *described))
        exam = Exam(self.images, self.norm_images, self.steps or 0, self.lr)
        prepared = examiner(study.network, study.graph, data, exam, seed=study.seed)
        search = _Search(self, study, journal)
        if self.steps is None and search.is_blind(prepared):
            prepared = examiner(study.network, study.graph, data, replace(exam, steps=BLIND_STEPS), seed=study.seed)
        search.run(study.workers or plugins.build("workers", "local", {"processes": 1}), prepared)
        if not math.isfinite(search.loss):
            hint = "do the dense network's weights hold NaN? a lower lr keeps steps from diverging"
            raise ConfigError(f"no candidate has a loss: every network of {study.network.address} gives NaN", hint=hint)
        return search.scores

    def breeding(self) -> Breeding:
        """How candidates are bred."""
        return Breeding(self.candidates, self.population, self.tournament, self.mutation)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The scores of any genome."""

    sizes: Mapping[str, np.ndarray]
    """Group -> size of every unit; a genome has the groups in this order."""

    @property
    def means(self) -> np.ndarray:
        """Of each group's sizes."""
        return np.array([float(sizes.mean()) for sizes in self.sizes.values()])

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each group's sizes."""
        return np.array([float(sizes.std()) for sizes in self.sizes.values()])

    @property
    def centre(self) -> np.ndarray:
        """The scales that make all groups' mean sizes one and the same."""
        found: np.ndarray = self.means.mean() / np.maximum(self.means, 1e-12)
        return found

    @property
    def standardised(self) -> Genome:
        """All groups' scores have one mean and one deviation: every group loses about the same share."""
        deviation = np.maximum(self.deviation, 1e-12)
        scale = float(np.mean(deviation * self.centre)) / deviation
        return Genome(scale, -scale * self.means)

    def scores(self, genome: Genome) -> Scores:
        """Of every unit."""
        pairs = zip(self.sizes.items(), genome.scale, genome.shift, strict=True)
        return Scores({group: scale * sizes + shift for (group, sizes), scale, shift in pairs})


def ranking_of(network: Network, graph: ChannelGraph, reduce: str = "mean") -> Ranking:
    """Of a network as it is."""
    by_layer = squared_norms(network.module, graph)
    over = np.mean if reduce == "mean" else np.sum
    return Ranking({group: over(list(sizes.values()), axis=0) for group, sizes in by_layer.items()})


class _Search:
    """One search: proposes candidates, hands their plans out, admits what comes back."""

    def __init__(self, settings: Legr, study: Study, journal: Journal) -> None:
        self._settings, self._study, self._journal = settings, study, journal
        self._ranking = ranking_of(study.network, study.graph, settings.reduce)
        ranking = self._ranking
        self._evolution = Evolution(
            settings.breeding(), ranking.deviation, study.seed, ranking.centre, [("standardised", ranking.standardised)]
        )
        self._begun: dict[int, tuple[Candidate, Keep]] = {}
        self._proposed: set[str] = set()
        self._stopped = ""

    @property
    def loss(self) -> float:
        """Of the best candidate."""
        assert self._evolution.best
        return self._evolution.best[0]

    @property
    def scores(self) -> Scores:
        """Of the best candidate."""
        assert self._evolution.best
        return self._ranking.scores(self._evolution.best[1].genome)

    def is_blind(self, prepared: Examiner) -> bool:
        """Whether candidates would be near chance right after the cut, so that their losses order nothing."""
        assert self._study.plan
        whole = {group.name: tuple(range(group.width)) for group in self._study.graph.free}
        alike = self._study.plan(self._ranking.scores(self._ranking.standardised))
        dense, cut = (fitness(prepared, keep).top1 for keep in (whole, alike))
        if cut >= SIGHT * dense:
            return False
        logger.warning(
            "legr: right after a cut to this budget %.0f %% are right (dense: %.0f %%): every candidate is trained for "
            "%d steps before it is judged", 100 * cut, 100 * dense, BLIND_STEPS,
        )  # fmt: skip
        return True

    def run(self, workers: Workers, prepared: Examiner) -> None:
        began, total = time.monotonic(), self._settings.candidates
        results = workers.map(_judge, prepared, self._items(), ahead=self._settings.lag)
        for number, found in enumerate(results):
            self._admit(number, found)
            self._stopped = self._stopped or self._reason_to_stop(number)
            ended = self._stopped or ("all candidates judged" if number + 1 == total else "")
            self._journal.write(wall_s=time.monotonic() - began, ended=ended, **self._standing())
            self._study.progress("search", number + 1, total, self._told())
            if self._stopped:
                break

    def _items(self) -> Iterator[tuple[Keep, Fitness | None]]:
        for number in range(self._settings.candidates):
            candidate, keep = self._new(number)
            self._begun[number] = candidate, keep
            self._proposed.add(digest(keep))
            yield keep, self._journal.known(digest(keep))

    def _new(self, number: int) -> tuple[Candidate, Keep]:
        assert self._study.plan
        for _ in range(DRAWS):
            candidate = self._evolution.propose(number)
            keep = self._study.plan(self._ranking.scores(candidate.genome))
            if candidate.origin in ("identity", "standardised") or digest(keep) not in self._proposed:
                break
        return candidate, keep

    def _admit(self, number: int, found: Fitness) -> None:
        candidate, keep = self._begun.pop(number)
        self._evolution.admit(candidate, found.loss)
        loss = found.loss if math.isfinite(found.loss) else None
        widths = tuple(len(keep[group.name]) for group in self._study.graph.free)
        self._journal.add(
            Tried(number, candidate.origin, candidate.parent, loss, found.top1, widths, found.seconds, digest(keep))
        )

    def _standing(self) -> dict[str, Any]:
        assert self._evolution.best
        best = self._evolution.best[1]
        return {
            "groups": tuple(group.name for group in self._study.graph.free),
            "best": best.number,
            "scale": tuple(best.genome.scale.tolist()),
            "shift": tuple(best.genome.shift.tolist()),
            "generator": self._evolution.state,
        }

    def _told(self) -> str:
        assert self._evolution.best
        loss, candidate = self._evolution.best
        return f"best loss {loss:.4f} (candidate {candidate.number})"

    def _reason_to_stop(self, number: int) -> str:
        """Empty: go on.

        Raises:
            BudgetError: the search has collapsed.
        """
        patience, best = self._settings.patience, self._evolution.best
        assert best
        last = self._journal.last(self._settings.population)
        if len(last) == self._settings.population > 1 and len({each.plan for each in last}) == 1:
            raise BudgetError(
                f"the search has collapsed: the last {len(last)} candidates are one and the same plan",
                hint="the budget leaves no choice: raise it, or lower the floor",
            )
        stale = patience and number - best[1].number >= patience
        return f"no better candidate among the last {patience}" if stale else ""


def _judge(prepared: Examiner, item: tuple[Keep, Fitness | None]) -> Fitness:
    keep, known = item
    return known or fitness(prepared, keep)


plugin = Legr

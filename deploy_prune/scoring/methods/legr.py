"""LeGR: a ranking of all units that is learnt once, for any number of budgets (Chin et al., arXiv 1904.12368).

In the paper a unit scores scale_g x ||filter||_2^2 + shift_g, one pair per group g; the pairs are found by ageing
evolution, whose fitness is the loss on validation images of the network that is really cut under the tightest budget.
`importance="norm"` searches so; by default units are scored by what `obs` says that they lose, weighed by a scale per
group. Where we differ from the released code beyond that: several layers that make one group share a pair, and the
size of their unit is the mean of its filters' (there: a pair per layer, and the sum), so that a search decides how many
units stay and norms, or OBS, decide which; a candidate's layers make up for what they no longer read, unless
`judge="steps"` trains them (the rate of steps falls to 0, and their number follows from what a cut leaves), and its
norms are measured anew before it is judged; images come from validation; candidates are physically small; milliseconds
can be the budget; the first population also has a candidate cut at the edges of uniform widths, which random ones
rarely come near under a tight budget; random scales are drawn around those that make all groups' mean sizes equal
(there: around 1); the best candidates are refitted, or trained for longer, in the end, to choose among them; a
candidate whose plan was proposed before is drawn again, as one group's map often changes no plan.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from deploy_prune import plugins
from deploy_prune.errors import BudgetError, ConfigError, Diverged
from deploy_prune.processes.workers import USUAL, WORKERS, Workers
from deploy_prune.scoring.evolution.affine_ranking import ranking_of
from deploy_prune.scoring.evolution.ageing import Breeding, Candidate, Evolution, Genome, Origin
from deploy_prune.scoring.evolution.journal import Journal, digest
from deploy_prune.scoring.evolution.judging import Judging
from deploy_prune.scoring.evolution.obs_ranking import rank_by_obs
from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.study import Study
from deploy_prune.search_results import CandidateResult
from deploy_prune.setting_rules import check_settings
from deploy_prune.train.fitness import Exam, Examiner, Fitness, judge_candidate
from deploy_prune.train.state import fingerprint
from deploy_prune.values import Keep, Scores

logger = logging.getLogger(__name__)

KNOWN: Mapping[str, tuple[Origin, ...]] = {"norm": ("uniform", "identity"), "obs": ("identity",)}
"""Importance -> the candidates that are there whatever is drawn."""
JUDGES = ("steps", "maps")
DRAWS = 20
"""The limit of draws to find a candidate whose plan is new."""


@dataclass(frozen=True)
class Legr:
    """The search's settings; the defaults suit a small network, a larger one wants more candidates and images."""

    needs_labels: ClassVar[bool] = False

    candidates: int = 150
    """How many are judged in all, the first population included."""
    population: int = 32
    """How many of the latest candidates live, from which parents are drawn."""
    tournament: int = 8
    """How many members are drawn to find a parent."""
    mutation: float = 0.1
    """The share of the groups that a child changes, one at the least."""
    reduce: Literal["mean", "sum"] = "mean"
    """How the layers that make a unit are joined; `sum` as the released code, which spares long residual chains."""
    importance: Literal["norm", "obs"] = "obs"
    """What ranks units: what they lose by `obs`, which is searched from: a weight for each group's curve; or norms, as
    the paper has it."""
    images: int = 1000
    """How many validation images a candidate is judged on."""
    norm_images: int = 500
    """How many training images norms are measured on; 0 as the released code, which rewards what fits by chance."""
    judge: Literal["maps", "steps"] = "maps"
    """What makes a cut candidate judgeable: layers that make up for what they no longer read, by what they read in the
    dense network; or a few steps of training, as the paper has it."""
    steps: int | None = None
    """Steps of training before a candidate is judged; None: 20 if it still sees right after the cut, else 100; with
    maps none."""
    lr: float = 0.05
    """The largest learning rate of these steps."""
    finalists: int = 8
    """How many are looked at more closely in the end, to choose among them; 0: none. With maps they are refitted, else
    trained for 400 steps or four times `steps`."""
    lag: int = 8
    """How many candidates old the results are that one is bred from: as many workers have something to do."""
    patience: int = 0
    """After how many candidates that were no better than the best the search stops; 0: never."""

    def __post_init__(self) -> None:
        if self.reduce not in ("mean", "sum"):
            raise ConfigError(f"method 'legr' has no reduce {self.reduce!r}", hint="known: mean, sum")
        if self.importance not in KNOWN:
            raise ConfigError(f"method 'legr' has no importance {self.importance!r}", hint="known: norm, obs")
        if self.judge not in JUDGES:
            raise ConfigError(f"method 'legr' has no judge {self.judge!r}", hint=f"known: {', '.join(JUDGES)}")
        not_negative = ("norm_images", "steps", "finalists", "patience")
        rules = (
            *((name, "1 or more", vars(self)[name] >= 1) for name in ("lag", "images")),
            *((name, "0 or more", (vars(self)[name] or 0) >= 0) for name in not_negative),
        )
        check_settings("method 'legr'", self, rules)
        known = KNOWN[self.importance]
        if 0 < self.finalists <= len(known):
            hint = f"{', '.join(known)} are always among them: 0, or {len(known) + 1} and more"
            raise ConfigError(f"method 'legr' has finalists={self.finalists}", hint=hint)
        self.breeding()

    def score(self, study: Study) -> Scores:
        """Search, and score every unit by the best ranking that was found.

        Raises:
            ConfigError: no images, no budget to search under, or no candidate with a loss.
            BudgetError: a search by norms has collapsed: all candidates are one plan.
        """
        data = study.images("legr")
        if study.plan is None:
            raise ConfigError("method 'legr' searches under a budget, and there is none", hint="give a budget")
        described = (study.network.address, data.name, study.seed, self)
        journal = Journal.of(study.folder, fingerprint(study.network.module, *described))
        search = _Search(self, study, journal)
        exam = Exam(self.images, self.norm_images, lr=self.lr)
        judging = Judging(self.judge, self.steps, self.finalists > 0, exam)
        candidates, finals = judging.prepare(study, data, search.alike)
        workers = study.workers or plugins.build(WORKERS, USUAL, {"processes": 1})
        search.run(workers, candidates)
        if self.finalists:
            search.finish(workers, finals)
        if not math.isfinite(search.best[0]):
            hint = "do the dense network's weights hold NaN? a lower lr keeps steps from diverging"
            raise Diverged(f"no candidate has a loss: every network of {study.network.address} gives NaN", hint=hint)
        return search.scores

    def breeding(self) -> Breeding:
        """How candidates are bred."""
        return Breeding(self.candidates, self.population, self.tournament, self.mutation)


class _Search:
    """One search: proposes candidates, hands their plans out, admits what comes back."""

    def __init__(self, settings: Legr, study: Study, journal: Journal) -> None:
        self._settings, self._study, self._journal = settings, study, journal
        by_obs = settings.importance == "obs"
        ranking = rank_by_obs(study) if by_obs else ranking_of(study.network, study.graph, settings.reduce)
        assert study.plan
        self._ranking, self.alike = ranking, study.plan(ranking.percentiles)
        known: list[tuple[Origin, Genome]] = []
        if not by_obs:
            known = [("uniform", ranking.cut_at([len(self.alike[group]) for group in ranking.sizes]))]
        self._evolution = Evolution(settings.breeding(), ranking.deviation, study.seed, ranking.centre, known)
        self._known = KNOWN[settings.importance]
        self._begun: dict[int, tuple[Candidate, Keep]] = {}
        self._admitted: list[tuple[float, Candidate, Keep]] = []
        self._proposed: set[str] = set()
        self._began, self._stopped = time.monotonic(), ""
        self._winner: tuple[float, Candidate] | None = None

    @property
    def best(self) -> tuple[float, Candidate]:
        """The best candidate with its loss: the best of the finalists, where there are some, else of all."""
        best = self._winner or self._evolution.best
        assert best
        return best

    @property
    def scores(self) -> Scores:
        """The scores of every unit by the best candidate."""
        return self._ranking.scores(self.best[1].genome)

    def run(self, workers: Workers, prepared: Examiner) -> None:
        """Judge all candidates, each bred from the results of those before it."""
        total = self._settings.candidates
        results = workers.map(_judge, prepared, self._items(), ahead=self._settings.lag)
        for number, result in enumerate(results):
            self._admit(number, result)
            self._stopped = self._stopped or self._reason_to_stop(number)
            ended = self._stopped or ("all candidates judged" if number + 1 == total else "")
            self._journal.write(ended=ended, **self._standing())
            self._study.progress("search", number + 1, total, self._say_best())
            if self._stopped:
                break

    def finish(self, workers: Workers, longer: Examiner) -> None:
        """Choose among the finalists by a closer look."""
        finalists = self._finalists()
        items = ((keep, self._journal.recall(digest(keep), final=True)) for _, keep in finalists)
        results = workers.map(_judge, longer, items, ahead=self._settings.lag)
        for number, ((candidate, keep), result) in enumerate(zip(finalists, results, strict=True)):
            if self._winner is None or result.loss < self._winner[0]:
                self._winner = result.loss, candidate
            self._journal.add(self._describe(candidate, keep, result), final=True)
            self._journal.write(**self._standing())
            self._study.progress("finals", number + 1, len(finalists), self._say_best())

    def _finalists(self) -> list[tuple[Candidate, Keep]]:
        """The candidates that are there whatever is drawn, then the best; only one of each plan."""
        plans: dict[str, tuple[Candidate, Keep]] = {}
        ranked = sorted(self._admitted, key=lambda each: (each[1].origin not in self._known, each[0]))
        for loss, candidate, keep in ranked:
            if math.isfinite(loss):
                plans.setdefault(digest(keep), (candidate, keep))
        return list(plans.values())[: self._settings.finalists]

    def _items(self) -> Iterator[tuple[Keep, Fitness | None]]:
        for number in range(self._settings.candidates):
            candidate, keep = self._propose_new(number)
            self._begun[number] = candidate, keep
            self._proposed.add(digest(keep))
            yield keep, self._journal.recall(digest(keep))

    def _propose_new(self, number: int) -> tuple[Candidate, Keep]:
        assert self._study.plan
        for _ in range(DRAWS):
            candidate = self._evolution.propose(number)
            keep = self._study.plan(self._ranking.scores(candidate.genome))
            if candidate.origin in self._known or digest(keep) not in self._proposed:
                break
        return candidate, keep

    def _admit(self, number: int, result: Fitness) -> None:
        candidate, keep = self._begun.pop(number)
        self._evolution.admit(candidate, result.loss)
        self._admitted.append((result.loss, candidate, keep))
        self._journal.add(self._describe(candidate, keep, result))

    def _describe(self, candidate: Candidate, keep: Keep, result: Fitness) -> CandidateResult:
        widths = tuple(len(keep[group.name]) for group in self._study.graph.free)
        loss = result.loss if math.isfinite(result.loss) else None
        return CandidateResult(
            candidate.number,
            candidate.origin,
            candidate.parent,
            loss,
            result.value,
            widths,
            result.seconds,
            digest(keep),
        )

    def _standing(self) -> dict[str, Any]:
        _, best = self.best
        return {
            "groups": tuple(group.name for group in self._study.graph.free),
            "best": best.number,
            "scale": tuple(best.genome.scale.tolist()),
            "shift": tuple(best.genome.shift.tolist()),
            "generator": self._evolution.state,
            "wall_s": time.monotonic() - self._began,
        }

    def _say_best(self) -> str:
        loss, candidate = self.best
        return f"best loss {loss:.4f} (candidate {candidate.number})"

    def _reason_to_stop(self, number: int) -> str:
        """Say why the search stops here; empty: it goes on.

        Raises:
            BudgetError: a search by norms has collapsed.
        """
        patience = self._settings.patience
        last = self._journal.last(self._settings.population)
        if len(last) == self._settings.population > 1 and len({each.plan for each in last}) == 1:
            if self._settings.importance == "obs":  # its curves have few corners, and a small network few groups
                return f"the last {len(last)} candidates are one plan"
            raise BudgetError(
                f"the search has collapsed: the last {len(last)} candidates are one and the same plan",
                hint="the budget leaves no choice: raise it, or lower the floor",
            )
        stale = patience and number - self.best[1].number >= patience
        return f"no better candidate among the last {patience}" if stale else ""


def _judge(prepared: Examiner, item: tuple[Keep, Fitness | None]) -> Fitness:
    keep, known = item
    return known or judge_candidate(prepared, keep)


plugin: type[Scorer] = Legr

"""Ageing evolution over one scale and one shift per group (LeGR, arXiv 1904.12368; the released code's procedure).

How far a random candidate lies from the centre, and a child from its parent, is drawn anew each time (there: one size
of step, and shifts that never cool): the more groups a network has, the nearer good candidates lie.

Candidates are numbered; number i is bred from the results of numbers up to i - lag, which are admitted in their order,
whoever computed them. All draws come from one generator, in the order of the numbers, so that the same results give
the same search on any number of workers, and a search that is told its results again stands where it stood.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Origin = Literal["random", "uniform", "identity", "bred"]


@dataclass(frozen=True, eq=False)
class Genome:
    """An affine map per group: score = scale x size of the filter + shift."""

    scale: np.ndarray
    """float, shape (groups,)."""
    shift: np.ndarray
    """float, shape (groups,)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """What is to be judged."""

    number: int
    """Its place in the search, from 0."""
    origin: Origin
    parent: int | None
    """The number of the candidate that it was bred from; None: it was not bred."""
    genome: Genome


@dataclass(frozen=True)
class Breeding:
    """How the search goes."""

    candidates: int = 150
    """How many are judged in all, the first population included."""
    population: int = 32
    """How many of the latest candidates live, from which parents are drawn."""
    tournament: int = 8
    """Members that are drawn, with replacement, to find a parent."""
    mutation: float = 0.1
    """Share of the groups that a child changes; one at the least."""

    def __post_init__(self) -> None:
        if min(self.population, self.tournament) < 1 or self.candidates < self.population:
            raise ValueError("population and tournament must be 1 or more, candidates at least the population")
        if not 0 < self.mutation <= 1:
            raise ValueError("mutation must be above 0, and 1 at the most")


COOLING = 1.25
"""The largest step falls to 1 - 1/1.25 of its first size at the last candidate."""


class Evolution:
    """A search that has admitted some results."""

    def __init__(
        self, breeding: Breeding, deviation: np.ndarray, seed: int, centre: np.ndarray | None = None,
        known: Sequence[tuple[Origin, Genome]] = (),
    ) -> None:  # fmt: skip
        """Begin.

        Args:
            breeding: how candidates are bred.
            deviation: the standard deviation of the sizes of each group's units, (groups,).
            seed: the seed of all draws.
            centre: the scales that random ones are drawn around; None: 1.
            known: the genomes that the first population has beside random ones and, last, the identity.
        """
        groups = len(deviation)
        self._breeding = breeding
        self._centre = np.ones(groups) if centre is None else centre
        self._step = deviation * self._centre
        """The size of a step of shifts, as large as scores see the deviation: shape (groups,)."""
        every: list[tuple[Origin, Genome]] = [*known, ("identity", Genome(np.ones(groups), np.zeros(groups)))]
        self._known = dict(enumerate(every, breeding.population - len(every)))
        self._generator = np.random.default_rng(seed)
        self._living: deque[tuple[float, Candidate]] = deque(maxlen=breeding.population)
        self.best: tuple[float, Candidate] | None = None

    @property
    def state(self) -> dict[str, object]:
        """The state of the generator that all draws come from."""
        return dict(self._generator.bit_generator.state)

    def propose(self, number: int) -> Candidate:
        """Propose a candidate of this number, bred from what was admitted so far; asked again, another one."""
        if number in self._known:
            origin, genome = self._known[number]
            return Candidate(number, origin, None, genome)
        if number < self._breeding.population or not self._living:  # a lag may be longer than the first population
            return Candidate(number, "random", None, self._draw_random())
        parent = self._draw_parent()
        return Candidate(number, "bred", parent.number, self._breed(parent.genome, number))

    def admit(self, candidate: Candidate, loss: float) -> None:
        """Take in a result, in the order of the numbers; the oldest member makes room."""
        self._living.append((loss, candidate))
        if self.best is None or loss < self.best[0]:
            self.best = loss, candidate

    def _draw_random(self) -> Genome:
        """Draw a genome, and how far from the centre it is: far from it in all groups at once is rarely good."""
        groups, spread = len(self._step), self._generator.uniform()
        scale = self._centre * np.exp(self._generator.normal(0, spread, groups))
        return Genome(scale, self._generator.normal(0, spread, groups) * self._step)

    def _draw_parent(self) -> Candidate:
        drawn = self._generator.integers(0, len(self._living), self._breeding.tournament)
        _, parent = min((self._living[place] for place in drawn), key=lambda member: member[0])
        return parent

    def _breed(self, genome: Genome, number: int) -> Genome:
        groups = len(self._step)
        changed = max(1, math.floor(self._breeding.mutation * groups))
        chosen = self._generator.choice(groups, changed, replace=False)
        step = self._generator.uniform() * (1 - number / (COOLING * self._breeding.candidates))
        scale, shift = genome.scale.copy(), genome.shift.copy()
        scale[chosen] *= np.exp(self._generator.normal(0, step, changed))
        shift[chosen] += self._generator.normal(0, step, changed) * self._step[chosen]
        return Genome(scale, shift)

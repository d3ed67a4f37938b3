"""What searches, fronts and bisections found out, as it reaches disk; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from deploy_prune.values import TOP_1, Interval

PointKind = Literal["dense", "pruned", "uniform", "smaller"]


@dataclass(frozen=True)
class FrontPoint:
    """One network of a front."""

    kind: PointKind
    budget: str
    """The budget in the user's words, such as `8ms`; for a smaller input its shape."""
    run: str
    """The name of its run's folder below the front's."""
    ratio: float | None
    """Time / time of the dense network, on the first target; None: not timed."""
    interval: Interval | None
    """The 95 % interval of the ratio."""
    latency_ms: float | None
    """What its file takes, in the front's unit, which is milliseconds wherever a clock measures; None: not timed."""
    latency_interval_ms: Interval | None
    """The 95 % interval of that."""
    test: float
    """The quality on the test images."""
    test_interval: Interval
    """The 95 % interval of the quality on the test images."""
    val: float
    """The quality on the validation images."""
    macs: int
    """Multiply-adds at batch 1."""
    params: int
    """How many parameters it has."""


@dataclass(frozen=True)
class Front:
    """Networks of several budgets: their quality against their time."""

    model: str
    """The address of the dense network."""
    data: str
    """The address of the data set."""
    method: str
    """The method by whose one ranking all were cut."""
    points: tuple[FrontPoint, ...]
    """The dense network first, then a point per budget."""
    quality: str = TOP_1
    """What `test` and `val` of the points are."""
    unit: str = "ms"
    """What the times of the points are counted in."""


@dataclass(frozen=True)
class DropTry:
    """One budget that was tried on the way to the fastest network that loses little."""

    budget: str
    """The budget, as a share of the dense network's cost."""
    run: str
    """The name of its run's folder."""
    lost_points: float
    """How many hundredths of the quality on validation images were lost, after fine-tuning."""
    seconds: float
    """How long the try took."""


@dataclass(frozen=True)
class DropSearch:
    """How the fastest network was found that loses at most so much."""

    allowed_points: float
    """How many hundredths of the quality may be lost."""
    dense_val: float
    """The dense network's quality on validation images."""
    tries: tuple[DropTry, ...]
    """The budgets that were tried, in order."""
    found: str
    """The run folder of the fastest network; empty: every network lost more."""
    quality: str = TOP_1
    """What is lost."""


SEARCH, FRONT = "search.json", "front.json"
"""The names of a search's record in its run folder, and of a front's in its own."""


@dataclass(frozen=True)
class CandidateResult:
    """What a search learnt of one candidate."""

    number: int
    """Its place in the search, from 0."""
    origin: str
    """How it came about: random, uniform, identity or bred."""
    parent: int | None
    """The number of the candidate that it was bred from; None: it was not bred."""
    loss: float | None
    """The mean loss on validation images; None: it was no number."""
    value: float
    """The quality on the validation images, such as their top-1."""
    widths: tuple[int, ...]
    """How many units it keeps of every group, in the order of `SearchRecord.groups`."""
    seconds: float
    """How long it took to judge the candidate, in its worker."""
    plan: str
    """Digest of the kept units: candidates of one plan are judged once."""


@dataclass(frozen=True)
class SearchRecord:
    """A search so far."""

    identity: str
    """Digest of all that decides a fitness: weights, images, settings, seed."""
    groups: tuple[str, ...] = ()
    """The groups that may be cut, in the order of widths, scales and shifts."""
    tried: tuple[CandidateResult, ...] = ()
    """All candidates that were judged, in the order of their numbers."""
    finals: tuple[CandidateResult, ...] = ()
    """The candidates that were looked at more closely in the end, and what came of that."""
    best: int | None = None
    """The number of the best candidate so far."""
    scale: tuple[float, ...] = ()
    """The scales of the best candidate, one per group; `shift` holds its shifts."""
    shift: tuple[float, ...] = ()
    generator: dict[str, Any] = field(default_factory=dict)
    """The state of the one generator of all draws."""
    wall_s: float = 0.0
    """How long the last process worked on it, in seconds."""
    ended: str = ""
    """Why the search has ended; empty: it has not."""

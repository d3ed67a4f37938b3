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
    """Folder below the front's."""
    ratio: float | None
    """Time / time of the dense network, on the first target; None: not timed."""
    interval: Interval | None
    latency_ms: float | None
    latency_interval_ms: Interval | None
    test: float
    """The quality on the test images."""
    test_interval: Interval
    """The 95 % interval of the quality on the test images."""
    val: float
    """The quality on the validation images."""
    macs: int
    params: int


@dataclass(frozen=True)
class Front:
    """Networks of several budgets: their quality against their time."""

    model: str
    data: str
    method: str
    points: tuple[FrontPoint, ...]
    quality: str = TOP_1
    """What `test` and `val` of the points are."""


@dataclass(frozen=True)
class DropTry:
    """One budget that was tried on the way to the fastest network that loses little."""

    budget: str
    run: str
    lost_points: float
    """How many hundredths of the quality on validation images were lost, after fine-tuning."""
    seconds: float


@dataclass(frozen=True)
class DropSearch:
    """How the fastest network was found that loses at most so much."""

    allowed_points: float
    dense_val: float
    tries: tuple[DropTry, ...]
    found: str
    """Its run folder; empty: every network lost more."""
    quality: str = TOP_1
    """What is lost."""


SEARCH = "search.json"


@dataclass(frozen=True)
class CandidateResult:
    """One candidate."""

    number: int
    origin: str
    """random, uniform, identity or bred."""
    parent: int | None
    loss: float | None
    """Mean validation loss; None: no number."""
    value: float
    """The quality on the validation images, such as their top-1."""
    widths: tuple[int, ...]
    """Units kept, in the order of `Search.groups`."""
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
    tried: tuple[CandidateResult, ...] = ()
    finals: tuple[CandidateResult, ...] = ()
    """The candidates that were trained for longer in the end, and what came of that."""
    best: int | None = None
    scale: tuple[float, ...] = ()
    """The scales of the best candidate, one per group; `shift` holds its shifts."""
    shift: tuple[float, ...] = ()
    generator: dict[str, Any] = field(default_factory=dict)
    """State of the one generator of all draws."""
    wall_s: float = 0.0
    """How long the last process worked on it, in seconds."""
    ended: str = ""
    """Why; empty: it has not."""

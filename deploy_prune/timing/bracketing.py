"""Times candidates against a fixed reference: each block of samples stands between two blocks of the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy_prune import stats
from deploy_prune.errors import Inconclusive
from deploy_prune.timing.devices import Block
from deploy_prune.values import Bracket, Comparison, same_unit

MOST_INFERENCES = 1000
"""How many inferences a block has at the most, however short they are."""
STEADY = 0.03
"""A file is warm when the medians of two blocks in a row differ by no more than this share."""
BLOCK_TIMEOUT_S = 300.0
"""The seconds after which a worker is given up: seven inferences of 40 s would fit."""


@dataclass(frozen=True)
class Pace:
    """How long is timed, how often, and how steady the machine must be."""

    blocks: int = 12
    """How many brackets a candidate gets."""
    block_ms: float = 70.0
    """How long a block lasts, in ms: long against a timer tick, short against drifting clocks and temperature."""
    fewest_inferences: int = 5
    """How many inferences a block has at the least, however long they take."""
    drift: float = 0.05
    """The share by which the two reference readings of a bracket may differ; else it is repeated."""
    repeats: int = 24
    """How many brackets of a candidate are thrown away before the machine is given up."""
    warm_up: int = 15
    """How many blocks are run at the most until a file counts as warm."""


PACE = Pace()


class Timed(Protocol):
    """What runs a file: a `Worker`."""

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """Run that many inferences in a row, and give what each took."""


@dataclass(frozen=True)
class Reading:
    """A candidate's block between two of the reference that agree."""

    before: Block
    """The reference's block just before the candidate's."""
    candidate: Block
    """The candidate's block."""
    after: Block
    """The reference's block just after it."""
    thrown: tuple[float, ...] = ()
    """The drifts, as shares, of the brackets that were thrown away for this one."""

    @property
    def bracket(self) -> Bracket:
        """The samples alone."""
        unit = same_unit(self.before.unit, self.candidate.unit, self.after.unit)
        return Bracket(self.before.samples, self.candidate.samples, self.after.samples, unit)


@dataclass(frozen=True)
class Round:
    """One turn of everybody."""

    reference: tuple[Block, ...]
    """The reference's blocks: for each reading the one that closes it; a single one where the reference is alone."""
    readings: tuple[Reading, ...]
    """A reading per candidate, in their order."""


def compare(reference: Timed, candidate: Timed, pace: Pace = PACE, *, seed: int = 0) -> Comparison:
    """Time a candidate, as a ratio to the reference (1: just as long); `seed` is that of the bootstrap.

    Raises:
        Inconclusive: the reference moved too often, the machine is not quiet.
        Unavailable: a worker died; InputError: a file does not run.
    """
    brackets, repeated = take_brackets(reference, candidate, pace)
    return summarise_brackets(brackets, repeated, seed=seed)


def take_brackets(reference: Timed, candidate: Timed, pace: Pace = PACE) -> tuple[tuple[Bracket, ...], int]:
    """Warm both up, and take the brackets of one candidate; with them how many were thrown away and repeated.

    Raises:
        Inconclusive: the reference moved too often.
        Unavailable: a worker died; InputError: a file does not run.
    """
    readings = [reading for each in take_rounds(reference, [candidate], pace) for reading in each.readings]
    return tuple(reading.bracket for reading in readings), sum(len(each.thrown) for each in readings)


def summarise_brackets(brackets: Sequence[Bracket], repeated: int, *, seed: int = 0) -> Comparison:
    """Say what the brackets of one candidate show together: the median of their ratios, with a 95 % interval."""
    ratios = [bracket.ratio for bracket in brackets]
    return Comparison(
        ratio=stats.median(ratios),
        interval=stats.bootstrap(ratios, stats.median, seed=seed),
        reference=stats.median([bracket.reference for bracket in brackets]),
        unit=same_unit(*(bracket.unit for bracket in brackets)),
        brackets=tuple(brackets),
        repeated=repeated,
    )


def take_rounds(reference: Timed, candidates: Sequence[Timed], pace: Pace = PACE) -> Iterator[Round]:
    """Warm everybody up, now; then a round for each that is asked of the iterator: R c1 R c2 R ... cn R.

    The reference's block after one candidate is the one before the next, across rounds as well: none is taken
    twice. A bracket whose reference moved is repeated at once.

    Raises:
        Inconclusive: the reference moved too often around one candidate.
        Unavailable: a worker died; InputError: a file does not run.
    """
    calls = [_warm_up(worker, pace) for worker in (reference, *candidates)]
    return _take_in_turns(calls[0], calls[1:], pace) if candidates else _take_alone(calls[0], pace)


def choose_block_size(inference_ms: float, pace: Pace = PACE) -> int:
    """How many inferences of that many ms make a block of about `pace.block_ms`."""
    wanted = round(pace.block_ms / max(inference_ms, pace.block_ms / MOST_INFERENCES))
    return min(max(wanted, pace.fewest_inferences), MOST_INFERENCES)


def _warm_up(worker: Timed, pace: Pace) -> Callable[[], Block]:
    """Run blocks until two in a row agree; the call that takes another."""
    inferences, last_ms = 1, float("inf")
    for _ in range(pace.warm_up):
        median_ms = stats.median(worker.block(inferences, timeout_s=BLOCK_TIMEOUT_S).samples)
        steady = inferences >= pace.fewest_inferences and abs(median_ms - last_ms) <= STEADY * last_ms
        inferences = choose_block_size(median_ms, pace)
        if steady:
            break
        last_ms = median_ms
    return lambda: worker.block(inferences, timeout_s=BLOCK_TIMEOUT_S)


def _take_alone(reference: Callable[[], Block], pace: Pace) -> Iterator[Round]:
    for _ in range(pace.blocks):
        yield Round((reference(),), ())


def _take_in_turns(
    reference: Callable[[], Block], candidates: Sequence[Callable[[], Block]], pace: Pace
) -> Iterator[Round]:
    taken: list[tuple[Reading, ...]] = [()] * len(candidates)
    before = reference()
    for _ in range(pace.blocks):
        for index, candidate in enumerate(candidates):
            reading = _take_bracket(before, candidate, reference, earlier=taken[index], pace=pace)
            taken[index] += (reading,)
            before = reading.after
        latest = tuple(readings[-1] for readings in taken)
        yield Round(tuple(reading.after for reading in latest), latest)


def _take_bracket(
    before: Block,
    candidate: Callable[[], Block],
    reference: Callable[[], Block],
    *,
    earlier: Sequence[Reading],
    pace: Pace,
) -> Reading:
    """The candidate's next one after its `earlier` ones, as often repeated as it takes."""
    thrown: tuple[float, ...] = ()
    spent = sum(len(reading.thrown) for reading in earlier)
    while spent + len(thrown) <= pace.repeats:
        reading = Reading(before, candidate(), reference(), thrown)
        if reading.bracket.drift <= pace.drift:
            return reading
        thrown = (*thrown, reading.bracket.drift)
        before = reading.after
    raise _tell_restless([*_list_drifts(earlier), *thrown], spent + len(thrown), pace)


def _list_drifts(readings: Sequence[Reading]) -> list[float]:
    """The drifts of all brackets, those that were thrown away among them."""
    return [drift for reading in readings for drift in (*reading.thrown, reading.bracket.drift)]


def _tell_restless(drifts: Sequence[float], thrown: int, pace: Pace) -> Inconclusive:
    message = (
        f"this machine is too noisy to time on: between blocks a moment apart the reference moved by up to "
        f"{max(drifts):.1%} (median {stats.median(drifts):.1%}); {thrown} of {len(drifts)} blocks stood between "
        f"readings more than {pace.drift:.1%} apart"
    )
    hint = "close other programs, plug the machine in, fix the clock's governor (see `deploy-prune doctor`); try again"
    return Inconclusive(message, hint=hint)

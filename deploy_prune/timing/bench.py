"""Times exported files against each other: a process per file, bracketed by the first one, raw samples kept."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import stats
from deploy_prune.errors import ConfigError
from deploy_prune.second_try import try_twice
from deploy_prune.timing.bracketing import BLOCK_TIMEOUT_S, PACE, Round, take_rounds
from deploy_prune.timing.devices import Device, Job, Worker
from deploy_prune.values import (
    Artifact,
    Conditions,
    Delegation,
    Interval,
    Measurement,
    Progress,
    Target,
    quiet,
    same_unit,
)

logger = logging.getLogger(__name__)

BLOCKS = 12
"""How many rounds are taken where nobody says how many; in each of them every file has a block of samples."""
FEWEST_BLOCKS = 3
"""How many rounds it takes at the least to say anything about scatter."""
SITTINGS = 3
"""How often the files are opened: where their buffers come to lie decides over some percent of their time."""


def time_in_turns(
    artifacts: Sequence[Artifact],
    device: Device,
    *,
    threads: Sequence[int] = (1,),
    blocks: int = BLOCKS,
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Measurement, ...]:
    """Time artifacts on a device against the first of them, one thread count after the other.

    `analysis.bench.bench` says what the arguments and the results are; it also takes files and run folders.

    Raises:
        InputError: a file is damaged.
        ConfigError: too few blocks, or no threads.
        Unavailable: a runtime is not installed, or a worker died, twice.
        Inconclusive: the reference never held still.
    """
    _check(threads, blocks, device)
    return try_twice(lambda: _time_all(artifacts, device, threads=threads, blocks=blocks, seed=seed, progress=progress))


def _time_all(
    artifacts: Sequence[Artifact],
    device: Device,
    *,
    threads: Sequence[int],
    blocks: int,
    seed: int,
    progress: Progress,
) -> tuple[Measurement, ...]:
    session = uuid.uuid4().hex
    measurements: list[Measurement] = []
    for step, count in enumerate(threads):
        done = step * blocks
        for race in _run_race(artifacts, Setting(device, count, seed), blocks):
            progress("bench", done + len(race.rounds), blocks * len(threads), f"{count} threads")
        taken = [_summarise(race, index, session, device.fingerprint) for index in range(len(artifacts))]
        measurements += _add_ratios(taken, artifacts, seed)
    return tuple(measurements)


@dataclass(frozen=True)
class Setting:
    """Where and how all files of a race run."""

    device: Device
    """The device that runs them."""
    threads: int
    """How many threads the runtimes compute with."""
    seed: int
    """The seed of the random inputs."""


@dataclass(frozen=True)
class _Race:
    """What all files of one thread count have shown so far."""

    artifacts: tuple[Artifact, ...]
    """The files, in the order of the measurements; the first is the reference, the others are the candidates."""
    workers: tuple[Worker, ...]
    """A worker for each of the artifacts."""
    before: Conditions
    """The machine before the first round."""
    after: Conditions
    """The machine after the last round."""
    delegations: tuple[Delegation | None, ...]
    """What a delegate took of each of the artifacts where it runs."""
    rounds: tuple[Round, ...] = ()
    """The rounds that were taken so far."""


def _check(threads: Sequence[int], blocks: int, device: Device) -> None:
    if blocks < FEWEST_BLOCKS:
        message = f"{blocks} blocks of samples say nothing about how far times scatter"
        raise ConfigError(message, hint=f"take {FEWEST_BLOCKS} blocks or more; {BLOCKS} are usual")
    for count in threads:
        if count < 1:
            raise ConfigError(f"a file cannot be timed with {count} threads", hint="give 1 thread or more")
    cores = len(device.cores(max(threads, default=1)))
    if max(threads, default=1) > cores:
        logger.warning("%d threads share %d cores: that is slower than it will be where it ships", max(threads), cores)


def _run_race(artifacts: Sequence[Artifact], setting: Setting, blocks: int) -> Iterator[_Race]:
    """The race after every round; its workers live until the last one."""
    if not artifacts:
        return
    device, cores = setting.device, setting.device.cores(setting.threads)
    jobs = [Job(Path(each.path), each.runtime, setting.threads, cores, setting.seed) for each in artifacts]
    with ExitStack() as stack:
        workers = tuple(stack.enter_context(device.start(job)) for job in jobs)
        before = device.conditions(cores)
        delegations = tuple(worker.delegation(timeout_s=BLOCK_TIMEOUT_S) for worker in workers)
        race = _Race(tuple(artifacts), workers, before, before, delegations)
        for each in _take_sittings(workers, blocks):
            race = replace(race, rounds=(*race.rounds, each))
            if len(race.rounds) == blocks:
                race = replace(race, after=device.conditions(cores))
            yield race


def _take_sittings(workers: Sequence[Worker], blocks: int) -> Iterator[Round]:
    """All rounds; between two sittings every file is opened anew."""
    for sitting in range(SITTINGS):
        rounds = (blocks + sitting) // SITTINGS
        opened = [worker.open(worker.job.path) for worker in workers] if sitting else workers
        yield from take_rounds(opened[0], opened[1:], replace(PACE, blocks=rounds))


def _summarise(race: _Race, index: int, session: str, device: str) -> Measurement:
    worker, artifact = race.workers[index], race.artifacts[index]
    readings = [each.readings[index - 1] for each in race.rounds] if index else []
    blocks = [each.candidate for each in readings] or [block for each in race.rounds for block in each.reference]
    samples = tuple(block.samples for block in blocks)
    return Measurement(
        artifact=artifact.path,
        target=Target(device, artifact.runtime, worker.version, worker.job.threads, artifact.precision),
        session=session,
        unit=same_unit(*(block.unit for block in blocks)),
        blocks=samples,
        median=stats.median_of_blocks(samples),
        interval=stats.median_interval(samples, seed=worker.job.seed),
        p90=stats.p90(samples),
        load_ms=worker.load_ms,
        peak_memory_bytes=max(block.peak_memory_bytes for block in blocks),
        runtime_memory_bytes=worker.runtime_memory_bytes,
        before=race.before,
        after=race.after,
        brackets=tuple(each.bracket for each in readings),
        repeated=sum(len(each.thrown) for each in readings),
        delegation=race.delegations[index],
    )


def _add_ratios(measurements: Sequence[Measurement], artifacts: Sequence[Artifact], seed: int) -> Iterator[Measurement]:
    """Each against the first of its target and of its network; those have none: 1 by definition says nothing."""
    firsts: dict[Target, Measurement] = {}
    of_network: dict[tuple[str, Target], tuple[Measurement, Artifact]] = {}
    for item, artifact in zip(measurements, artifacts, strict=True):
        first = firsts.setdefault(item.target, item)
        place = replace(item.target, runtime="", runtime_version="")
        base, base_artifact = of_network.setdefault((artifact.network.key, place), (item, artifact))
        ratio, interval = (None, None) if item is first else _divide(item, first, seed)
        compared = replace(item, ratio=ratio, ratio_interval=interval)
        if artifact.format != base_artifact.format:
            ratio, interval = _divide(item, base, seed)
            compared = replace(compared, format_base=base.artifact, format_ratio=ratio, format_ratio_interval=interval)
        yield compared


def _divide(measurement: Measurement, first: Measurement, seed: int) -> tuple[float, Interval]:
    """Round by round through the session's reference, which may be `first` itself."""
    same_unit(measurement.unit, first.unit)
    bases = [bracket.ratio for bracket in first.brackets] or [1.0] * len(measurement.brackets)
    ratios = [bracket.ratio / base for bracket, base in zip(measurement.brackets, bases, strict=True)]
    return stats.median(ratios), stats.bootstrap(ratios, stats.median, seed=seed)

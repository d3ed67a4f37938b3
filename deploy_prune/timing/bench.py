"""Times exported files against each other: a process per file, bracketed by the first one, raw samples kept."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import stats
from deploy_prune.errors import ConfigError
from deploy_prune.timing.bracketing import PACE, Round, chained
from deploy_prune.timing.devices import THIS_MACHINE, Device, Job, Worker, device_at
from deploy_prune.timing.files import choose, runtime_of
from deploy_prune.values import FP32, Conditions, Interval, Measurement, Progress, Target, quiet, same_unit

logger = logging.getLogger(__name__)

FEWEST_BLOCKS = 3
SITTINGS = 3
"""How often the files are opened: where their buffers come to lie decides over some percent of their time."""


def bench(
    paths: Sequence[Path | str],
    *,
    threads: Sequence[int] = (1,),
    blocks: int = 12,
    device: Device | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Measurement, ...]:
    """Time files on a device, one thread count after the other.

    The first file is the reference: every block of another stands between two of its blocks, and is taken again
    where those two differ, as then the machine was not the same meanwhile.

    Args:
        paths: exported files, whose runtimes follow from their suffixes, and run folders, each of which stands for
            the files that it exported last; those that cannot be timed here are skipped with a warning.
        threads: counts to time with; the first so many allowed cores are used (all, where there are fewer).
        blocks: rounds in which each file has one block of some 70 ms (the first: one before and after each of them).
        device: where the files run; None: on this machine.
        seed: of the random inputs and of the bootstrap.
        progress: told after each round.

    Returns:
        A measurement per thread count and file, in that order. `ratio` is to the first file with the same runtime
        and threads, `format_ratio` to the first file of the same network (the same folder and name but for the
        suffix) with the same threads, where that is another format.

    Raises:
        InputError: a file is missing, damaged or of a format that no runtime here reads.
        RecordError: a folder that is no run, or one that has exported nothing yet.
        ConfigError: too few blocks, or no threads.
        Unavailable: a runtime is not installed, or a worker died.
        Inconclusive: the reference never held still.
    """
    device = device or device_at(THIS_MACHINE)
    _check(threads, blocks, device)
    chosen = choose(paths)
    for each in chosen.skipped:
        logger.warning("skipped %s: %s", each.path, each.reason)
    runtimes = [(path, runtime_of(path)) for path in chosen.files]
    session = uuid.uuid4().hex
    found: list[Measurement] = []
    for step, count in enumerate(threads):
        cores = device.cores(count)
        jobs = [Job(path, runtime, count, cores, seed) for path, runtime in runtimes]
        done = step * blocks
        for race in _races(jobs, blocks, device):
            progress("bench", done + len(race.rounds), blocks * len(threads), f"{count} threads")
        found += _with_ratios(
            [_measurement(race, index, session, device.fingerprint) for index in range(len(jobs))], seed
        )
    return tuple(found)


@dataclass(frozen=True)
class _Race:
    """What all files of one thread count have shown so far."""

    workers: tuple[Worker, ...]
    before: Conditions
    after: Conditions
    rounds: tuple[Round, ...] = ()
    """The first file is the reference, the others are the candidates."""


def _check(threads: Sequence[int], blocks: int, device: Device) -> None:
    if blocks < FEWEST_BLOCKS:
        raise ConfigError(f"{blocks} blocks say nothing about scatter", hint=f"{FEWEST_BLOCKS} or more")
    for count in threads:
        if count < 1:
            raise ConfigError(f"a file cannot be timed with {count} threads", hint="1 or more")
    cores = len(device.cores(max(threads, default=1)))
    if max(threads, default=1) > cores:
        logger.warning("%d threads share %d cores: that is slower than it will be where it ships", max(threads), cores)


def _races(jobs: Sequence[Job], blocks: int, device: Device) -> Iterator[_Race]:
    """The race after every round; its workers live until the last one."""
    if not jobs:
        return
    with ExitStack() as stack:
        workers = tuple(stack.enter_context(device.start(job)) for job in jobs)
        before = device.conditions(jobs[0].cores)
        race = _Race(workers, before, before)
        for each in _sittings(workers, blocks):
            race = replace(race, rounds=(*race.rounds, each))
            if len(race.rounds) == blocks:
                race = replace(race, after=device.conditions(jobs[0].cores))
            yield race


def _sittings(workers: Sequence[Worker], blocks: int) -> Iterator[Round]:
    """All rounds; between two sittings every file is opened anew."""
    for sitting in range(SITTINGS):
        rounds = (blocks + sitting) // SITTINGS
        opened = [worker.open(worker.job.path) for worker in workers] if sitting else workers
        yield from chained(opened[0], opened[1:], replace(PACE, blocks=rounds))


def _measurement(race: _Race, index: int, session: str, device: str) -> Measurement:
    worker = race.workers[index]
    job = worker.job
    readings = [each.readings[index - 1] for each in race.rounds] if index else []
    blocks = [each.candidate for each in readings] or [block for each in race.rounds for block in each.reference]
    samples = tuple(block.samples for block in blocks)
    return Measurement(
        artifact=str(job.path),
        target=Target(device, job.runtime, worker.version, job.threads, FP32),
        session=session,
        unit=same_unit(*(block.unit for block in blocks)),
        blocks=samples,
        median=stats.median_of_blocks(samples),
        interval=stats.median_interval(samples, seed=job.seed),
        p90=stats.p90(samples),
        load_ms=worker.load_ms,
        peak_memory_bytes=max(block.peak_memory_bytes for block in blocks),
        runtime_memory_bytes=worker.runtime_memory_bytes,
        before=race.before,
        after=race.after,
        brackets=tuple(each.bracket for each in readings),
        repeated=sum(len(each.thrown) for each in readings),
    )


def _with_ratios(measurements: Sequence[Measurement], seed: int) -> list[Measurement]:
    """Each against the first of its target and of its network; those have none: 1 by definition says nothing."""
    firsts: dict[Target, Measurement] = {}
    of_network: dict[tuple[str, Target], Measurement] = {}
    found: list[Measurement] = []
    for item in measurements:
        first = firsts.setdefault(item.target, item)
        base = of_network.setdefault(_network_and_place(item), item)
        ratio, interval = (None, None) if item is first else _ratio(item, first, seed)
        compared = replace(item, ratio=ratio, ratio_interval=interval)
        if Path(item.artifact).suffix != Path(base.artifact).suffix:
            ratio, interval = _ratio(item, base, seed)
            compared = replace(compared, format_base=base.artifact, format_ratio=ratio, format_ratio_interval=interval)
        found.append(compared)
    return found


def _network_and_place(measurement: Measurement) -> tuple[str, Target]:
    """What measurements share that say which format of a network is faster: all but the runtime.

    Files of one network have the same folder, and the same name but for the suffix.
    """
    path = Path(measurement.artifact)
    return str(path.parent.resolve() / path.stem), replace(measurement.target, runtime="", runtime_version="")


def _ratio(measurement: Measurement, first: Measurement, seed: int) -> tuple[float, Interval]:
    """Round by round through the session's reference, which may be `first` itself."""
    same_unit(measurement.unit, first.unit)
    bases = [bracket.ratio for bracket in first.brackets] or [1.0] * len(measurement.brackets)
    ratios = [bracket.ratio / base for bracket, base in zip(measurement.brackets, bases, strict=True)]
    return stats.median(ratios), stats.bootstrap(ratios, stats.median, seed=seed)


def networks_of_formats(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """Per target the files that were timed on it, the one that `ratio` is to first; a file alone is left out."""
    groups: dict[Target, list[Measurement]] = {}
    for item in measurements:
        groups.setdefault(item.target, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def formats_of_networks(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """Per network and thread count its formats, the one that `format_ratio` is to first; one alone is left out."""
    groups: dict[tuple[str, Target], list[Measurement]] = {}
    for item in measurements:
        group = groups.setdefault(_network_and_place(item), [])
        if not group or item.format_base is not None:
            group.append(item)
    return [group for group in groups.values() if len(group) > 1]

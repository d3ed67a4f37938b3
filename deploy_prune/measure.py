"""Times exported files against each other: a process per file, in turns on the same cores, raw samples kept."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import conditions, statistics, timing_client
from deploy_prune.errors import ConfigError
from deploy_prune.timeable import choose, runtime_of
from deploy_prune.timing_client import Block, Job, Worker
from deploy_prune.values import Conditions, Interval, Measurement, Progress, Target, quiet

logger = logging.getLogger(__name__)

BLOCK_MS = 70.0
"""Long against a timer tick and a context switch, short against drifting clocks and temperature."""
FEWEST_INFERENCES, MOST_INFERENCES = 5, 1000
STEADY = 0.03
"""Warm when the medians of two blocks in a row differ by no more."""
WARM_UP_BLOCKS = 15
FEWEST_BLOCKS = 3
BLOCK_TIMEOUT_S = 300.0
"""After which a worker is given up: seven inferences of 40 s would fit."""


def bench(
    paths: Sequence[Path | str],
    *,
    threads: Sequence[int] = (1,),
    blocks: int = 12,
    device: str = "local",
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Measurement, ...]:
    """Time files on this machine's CPU, all of one thread count in turns, one thread count after the other.

    Args:
        paths: exported files, whose runtimes follow from their suffixes, and run folders, each of which stands for
            the files that it exported last; those that cannot be timed here are skipped with a warning.
        threads: counts to time with; the first so many allowed cores are used (all, where there are fewer).
        blocks: rounds in which each file has one block of some 70 ms.
        device: what to call this machine in the target.
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
    """
    _check(threads, blocks)
    chosen = choose(paths)
    for each in chosen.skipped:
        logger.warning("skipped %s: %s", each.path, each.reason)
    runtimes = [(path, runtime_of(path)) for path in chosen.files]
    session = uuid.uuid4().hex
    found: list[Measurement] = []
    for step, count in enumerate(threads):
        cores = conditions.allowed_cores()[:count]
        jobs = [Job(path, runtime, count, cores, seed) for path, runtime in runtimes]
        done = step * blocks
        for race in _races(jobs, blocks):
            progress("bench", done + len(race.rounds), blocks * len(threads), f"{count} threads")
        found += _with_ratios([_measurement(race, index, session, device) for index in range(len(jobs))], seed)
    return tuple(found)


def turns(files: int, round_index: int) -> tuple[int, ...]:
    """Who runs when: each round starts one file later, and every other round goes backwards.

    So every file stands equally often in every place, before and after each other: what drifts steadily, and
    what a file leaves behind in the caches, hits all alike.
    """
    order = [(index + round_index // 2) % files for index in range(files)]
    return tuple(order if round_index % 2 == 0 else reversed(order))


@dataclass(frozen=True)
class _Race:
    """What all files of one thread count have shown so far."""

    workers: tuple[Worker, ...]
    before: Conditions
    after: Conditions
    rounds: tuple[tuple[Block, ...], ...] = ()
    """Per round a block per file, in the order of the files."""


def _check(threads: Sequence[int], blocks: int) -> None:
    if blocks < FEWEST_BLOCKS:
        raise ConfigError(f"{blocks} blocks say nothing about scatter", hint=f"{FEWEST_BLOCKS} or more")
    for count in threads:
        if count < 1:
            raise ConfigError(f"a file cannot be timed with {count} threads", hint="1 or more")
    cores = len(conditions.allowed_cores())
    if max(threads, default=1) > cores:
        logger.warning("%d threads share %d cores: that is slower than it will be where it ships", max(threads), cores)


def _races(jobs: Sequence[Job], blocks: int) -> Iterator[_Race]:
    """The race after every round; its workers live until the last one."""
    cores = jobs[0].cores if jobs else ()
    with ExitStack() as stack:
        workers = tuple(stack.enter_context(timing_client.started(job)) for job in jobs)
        inferences = [_warmed_up(worker) for worker in workers]
        before = conditions.read(cores)
        race = _Race(workers, before, before)
        for index in range(blocks):
            race = replace(race, rounds=(*race.rounds, _round(workers, inferences, index)))
            if index == blocks - 1:
                race = replace(race, after=conditions.read(cores))
            yield race


def _round(workers: Sequence[Worker], inferences: Sequence[int], index: int) -> tuple[Block, ...]:
    by_file = {
        file: workers[file].block(inferences[file], timeout_s=BLOCK_TIMEOUT_S) for file in turns(len(workers), index)
    }
    return tuple(by_file[file] for file in range(len(workers)))


def _warmed_up(worker: Worker) -> int:
    """Run blocks until two in a row agree; how many inferences make a block."""
    inferences, last_ms = 1, float("inf")
    for _ in range(WARM_UP_BLOCKS):
        median_ms = statistics.median(worker.block(inferences, timeout_s=BLOCK_TIMEOUT_S).samples_ms)
        steady = inferences >= FEWEST_INFERENCES and abs(median_ms - last_ms) <= STEADY * last_ms
        inferences = block_size(median_ms)
        if steady:
            break
        last_ms = median_ms
    return inferences


def block_size(inference_ms: float) -> int:
    """Inferences in a block of about `BLOCK_MS`."""
    wanted = round(BLOCK_MS / max(inference_ms, BLOCK_MS / MOST_INFERENCES))
    return min(max(wanted, FEWEST_INFERENCES), MOST_INFERENCES)


def _measurement(race: _Race, index: int, session: str, device: str) -> Measurement:
    worker = race.workers[index]
    job = worker.job
    blocks_ms = tuple(blocks[index].samples_ms for blocks in race.rounds)
    return Measurement(
        artifact=str(job.path),
        target=Target(device, job.runtime, worker.version, job.threads, "fp32"),
        session=session,
        blocks_ms=blocks_ms,
        median_ms=statistics.median_of_blocks(blocks_ms),
        interval_ms=statistics.median_interval(blocks_ms, seed=job.seed),
        p90_ms=statistics.p90(blocks_ms),
        load_ms=worker.load_ms,
        peak_memory_bytes=max(blocks[index].peak_memory_bytes for blocks in race.rounds),
        runtime_memory_bytes=worker.runtime_memory_bytes,
        before=race.before,
        after=race.after,
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
    ratios = statistics.block_ratios(measurement.blocks_ms, first.blocks_ms)
    return statistics.median(ratios), statistics.bootstrap(ratios, statistics.median, seed=seed)


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

"""Times exported files against each other, whatever they are named by, and groups what is worth comparing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from deploy_prune.analysis.artifacts import Files, choose_artifacts, warn_of_skipped
from deploy_prune.timing.bench import BLOCKS, time_in_turns
from deploy_prune.timing.devices import THIS_MACHINE, Device, device_at
from deploy_prune.values import Measurement, Progress, Target, quiet


def bench(
    files: Files,
    *,
    threads: Sequence[int] = (1,),
    blocks: int = BLOCKS,
    device: Device | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Measurement, ...]:
    """Time files on a device, one thread count after the other.

    The first file is the reference: every block of another stands between two of its blocks, and is taken again
    where those two differ, as then the machine was not the same meanwhile.

    Args:
        files: artifacts (as `export` gives them), exported files, and run folders, each of which stands for the files
            that it exported last; those of a run that cannot be timed here are skipped with a warning.
        threads: counts to time with; the first so many allowed cores are used (all, where there are fewer).
        blocks: rounds in which each file has one block of some 70 ms (the first: one before and after each of them).
        device: where the files run; None: on this machine.
        seed: of the random inputs and of the bootstrap.
        progress: told after each round.

    Returns:
        A measurement per thread count and file, in that order. `ratio` is to the first file with the same runtime,
        precision and threads, `format_ratio` to the first file of the same network (by `Artifact.network`: files that
        deploy-prune wrote name theirs) with the same precision and threads, where that is another format.

    Raises:
        InputError: a file is missing, damaged or of a format that no runtime here reads.
        RecordError: a folder that is no run, or one that has exported nothing yet.
        ConfigError: too few blocks, or no threads.
        Unavailable: a runtime is not installed, or a worker died.
        Inconclusive: the reference never held still.
    """
    chosen = choose_artifacts(files)
    warn_of_skipped(chosen)
    place = device or device_at(THIS_MACHINE)
    return time_in_turns(chosen.artifacts, place, threads=threads, blocks=blocks, seed=seed, progress=progress)


def group_by_target(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """The files that were timed on one target, the one that `ratio` is to first; a file alone is left out."""
    groups: dict[Target, list[Measurement]] = {}
    for item in measurements:
        groups.setdefault(item.target, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def group_by_network(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """The formats of one network with one thread count, the one that `format_ratio` is to first; none alone."""
    items = tuple(measurements)
    others: dict[tuple[str, str, Target], list[Measurement]] = defaultdict(list)
    for item in items:
        if item.format_base is not None:
            others[item.format_base, item.session, _drop_runtime(item.target)].append(item)
    groups = []
    for item in items:
        key = item.artifact, item.session, _drop_runtime(item.target)
        if item.format_base is None and key in others:
            groups.append([item, *others.pop(key)])
    return groups


def list_best_threads(measurements: Iterable[Measurement]) -> list[Measurement]:
    """The fastest of each file that was timed with several numbers of threads; none where no interval tells it.

    More threads are not always faster: small networks, and cores of several classes, lose by them.
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for item in measurements:
        groups.setdefault((item.artifact, item.target.runtime), []).append(item)
    ordered = [sorted(group, key=lambda item: item.median) for group in groups.values() if len(group) > 1]
    return [first for first, second, *_ in ordered if first.interval[1] < second.interval[0]]


def _drop_runtime(target: Target) -> Target:
    """All that formats of a network share where they are compared."""
    return replace(target, runtime="", runtime_version="")

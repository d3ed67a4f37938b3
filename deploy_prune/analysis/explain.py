"""Why one file is (or is not) faster than another of the same format: both timed, then layer by layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune import plugins
from deploy_prune.analysis import layer_times, slowdown, xnnpack_delegation
from deploy_prune.analysis.artifacts import artifacts_of_run, choose_artifacts, is_run
from deploy_prune.analysis.explanation import Explanation
from deploy_prune.analysis.layer_times import LayerTime
from deploy_prune.analysis.whole_files import explain_whole
from deploy_prune.errors import ConfigError, DeployPruneError, InputError, NoSpeedUp
from deploy_prune.formats.templates import TEMPLATES, OperatorKind, Template
from deploy_prune.records import write_record
from deploy_prune.scratch import make_scratch
from deploy_prune.timing.bracketing import BLOCK_TIMEOUT_S, PACE, Pace, compare
from deploy_prune.timing.devices import THIS_MACHINE, Device, Job, device_at
from deploy_prune.values import Artifact, Comparison, Progress, Target, quiet

if TYPE_CHECKING:
    from deploy_prune.values import NodeTime

logger = logging.getLogger(__name__)

FEWEST_RUNS, MOST_RUNS = 10, 300
STEPS = 3
EXPLAINED = "explained.json"
"""What a run folder remembers of the last look at it."""
SEED = 0
"""The seed of the random inputs and of the bootstrap."""
Tiles = Mapping[OperatorKind, int]
"""Kind of operator -> how many channels its kernel computes at a time."""
DELEGATES = ("litert",)
"""Runtimes whose files are not always computed by one and the same library."""


@dataclass(frozen=True)
class Look:
    """Where two files are looked at, how, and for how long."""

    device: Device
    threads: int = 1
    tiles: Tiles | None = None
    """Kind of operator -> how many channels its kernel computes at a time; None: the usual ones."""
    pace: Pace = PACE
    profile_ms: float = 1500.0
    """The time for which a profiler looks at a file, in ms."""


def explain(
    before: Artifact | Path | str,
    after: Artifact | Path | str | None = None,
    *,
    threads: int = 1,
    device: Device | None = None,
    tiles: Tiles | None = None,
    progress: Progress = quiet,
) -> tuple[Explanation, ...]:
    """Say why a network's file is as fast as it is, held against the file of the network that it was cut from.

    Args:
        before: an artifact or a file, or (alone) a run folder: the dense and the pruned file of each format that it
            exported.
        after: another one of the same format.
        threads: of the runtime.
        device: where the files run; None: on this machine.
        tiles: kind of operator -> channels that its kernel computes at a time.
        progress: told after each step.

    Returns:
        One for two files, one per format for a run.

    Raises:
        InputError: a file is missing, damaged, or of a format whose layers cannot be timed here.
        ConfigError: two formats, a run and a file, or a file alone.
        Unavailable: a runtime is not installed, or a process died.
        Inconclusive: the machine is too noisy.
    """
    if threads < 1:
        raise ConfigError(f"a file cannot be timed with {threads} threads", hint="give 1 thread or more")
    look = Look(device or device_at(THIS_MACHINE), threads, tiles)
    return tuple(explain_pair(pair, look, progress=progress) for pair in _find_pairs(before, after))


def keep_explanations(run: Path, explanations: Sequence[Explanation]) -> None:
    """Write down in the run folder what came of a look at it, for its page.

    Raises:
        StorageError: the file system refused.
    """
    write_record(run / EXPLAINED, tuple(explanations), tuple[Explanation, ...])


def judge(explanations: Sequence[Explanation]) -> None:
    """Raise NoSpeedUp where a file is not faster."""
    slow = [each for each in explanations if not each.faster]
    if slow:
        said = "; ".join(f"{Path(each.after).name}: {each.sentence}" for each in slow)
        hint = "widths in multiples of 16 avoid the kernels' steps (--multiple 16); a smaller budget cuts more"
        raise NoSpeedUp(f"not faster: {said}", hint=hint)


Pair = tuple[Artifact, Artifact]
"""Two artifacts of one format, the one that is held against first."""


def _find_pairs(before: Artifact | Path | str, after: Artifact | Path | str | None) -> list[Pair]:
    if after is None:
        if isinstance(before, Artifact) or (Path(before).exists() and not is_run(Path(before))):
            path = before.path if isinstance(before, Artifact) else before
            raise ConfigError(f"{path} is one file", hint="name the file to hold against it as well, or a run folder")
        return _find_pairs_of_run(Path(before))
    for each in (before, after):
        if not isinstance(each, Artifact) and is_run(Path(each)):
            raise ConfigError(
                f"{each} is a folder, and there is another path", hint="name a run folder alone, or two files"
            )
    one, other = choose_artifacts([before, after]).artifacts
    if one.format != other.format:
        hint = "`deploy-prune bench` says which format of a network is faster"
        raise ConfigError(f"{one.path} and {other.path} are of two formats: their layers are not the same", hint=hint)
    return [(one, other)]


def _find_pairs_of_run(run: Path) -> list[Pair]:
    if not run.exists():
        raise InputError(f"{run} does not exist", hint="check the path")
    by_format: dict[str, list[Artifact]] = {}
    for artifact in artifacts_of_run(run).artifacts:
        by_format.setdefault(artifact.format, []).append(artifact)
    known = by_format.keys() & _list_formats().keys()
    for format_ in by_format.keys() - known if known else ():
        logger.warning("skipped the %s files of %s: nothing here takes them apart", format_, run)
        del by_format[format_]
    pairs = [(files[0], files[1]) for files in by_format.values() if len(files) == 2]
    if not pairs:
        hint = f"export one of {', '.join(sorted(_list_formats()))}"
        raise InputError(f"the run {run} has no dense and pruned file of one format", hint=hint)
    return pairs


def _list_formats() -> dict[str, str]:
    """Format -> the template plugin that takes its files apart."""
    return {plugins.load(TEMPLATES, name).exporter: name for name in plugins.list_names(TEMPLATES)}


def _take_apart(artifact: Artifact) -> Template:
    try:
        template = plugins.build(TEMPLATES, _list_formats()[artifact.format]).read(
            Path(artifact.path).read_bytes(), artifact.precision
        )
    except DeployPruneError as error:
        raise InputError(f"{artifact.path}: {error.message}", hint=error.hint) from error
    # the runtime has opened it, so that it is whole, but flatbuffers and protobuf have no common error
    except Exception as error:
        raise InputError(f"{artifact.path} cannot be taken apart: {error}", hint="export it again") from error
    if not any(layer.macs for layer in layer_times.list_untimed_layers(template.structure)):
        message = f"{artifact.path} has no layers with {artifact.precision} weights"
        raise InputError(message, hint="name a file with convolutions or dense layers")
    return template


@dataclass(frozen=True)
class _Timed:
    """The layers of both files, with times of unknown scale."""

    before: tuple[LayerTime, ...]
    after: tuple[LayerTime, ...]
    source: str
    not_timed: tuple[str, ...] = ()


def explain_pair(pair: Pair, look: Look, *, progress: Progress = quiet) -> Explanation:
    """`explain` for two files of one format.

    Raises:
        InputError: a file is damaged, or its layers cannot be timed here.
        Unavailable: a runtime is not installed, or a process died.
        Inconclusive: the machine is too noisy.
    """
    device = look.device
    jobs = [Job(Path(each.path), each.runtime, look.threads, device.cores(look.threads), SEED) for each in pair]
    with ExitStack() as stack:
        workers = [stack.enter_context(device.start(job)) for job in jobs]
        is_known = pair[0].format in _list_formats()
        templates = [_take_apart(artifact) for artifact in pair] if is_known else []
        progress("explain", 0, STEPS, f"{pair[0].format}, whole files")
        comparison = compare(workers[0], workers[1], look.pace, seed=SEED)
        target = Target(device.fingerprint, jobs[0].runtime, workers[0].version, look.threads, pair[0].precision)
        if not is_known:
            return explain_whole(pair, target, comparison)
        progress("explain", 1, STEPS, f"{pair[0].format}, layers")
        times_ms = comparison.reference, comparison.ratio * comparison.reference
        runs = [min(max(round(look.profile_ms / ms), FEWEST_RUNS), MOST_RUNS) for ms in times_ms]
        nodes = [worker.profile(count, timeout_s=BLOCK_TIMEOUT_S) for worker, count in zip(workers, runs, strict=True)]
    timed = _profile(templates, nodes, jobs[0]) if all(nodes) else _time_alone(templates, jobs, device, progress)
    progress("explain", STEPS, STEPS)
    return _conclude(pair, target, comparison, timed, look.tiles)


def _profile(templates: Sequence[Template], nodes: Sequence[Sequence[NodeTime]], job: Job) -> _Timed:
    before, after = (
        layer_times.read_profile(template.structure, own) for template, own in zip(templates, nodes, strict=True)
    )
    return _Timed(before, after, f"{job.runtime}'s profiler, scaled to the whole files")


def _time_alone(templates: Sequence[Template], jobs: Sequence[Job], device: Device, progress: Progress) -> _Timed:
    with make_scratch() as folder:
        readings = layer_times.time_alone(templates, jobs[0], device, folder, progress)
    timed, missing = [], []
    for template, job, alone_ms in zip(templates, jobs, readings, strict=True):
        operators = template.structure.operators
        taken = xnnpack_delegation.ask_delegated(job.path, len(operators)) if job.runtime in DELEGATES else frozenset()
        timed.append(layer_times.assign_times(template.structure, alone_ms, taken))
        missing += [layer.name for layer, ms in zip(timed[-1], alone_ms, strict=True) if ms is None]
    return _Timed(timed[0], timed[1], "one-operator files, scaled to the whole files", tuple(dict.fromkeys(missing)))


def _conclude(pair: Pair, target: Target, comparison: Comparison, timed: _Timed, tiles: Tiles | None) -> Explanation:
    before_ms, after_ms = comparison.reference, comparison.ratio * comparison.reference
    before, after = layer_times.scale_to(timed.before, before_ms), layer_times.scale_to(timed.after, after_ms)
    macs_ratio = sum(layer.macs for layer in after) / sum(layer.macs for layer in before)
    pairs = slowdown.align(before, after)
    off_stair = slowdown.find_off_stair(pairs, tiles)
    pairs = slowdown.attribute_losses(pairs, macs_ratio, off_stair)
    sentence = slowdown.word_the_speed_up(
        (before_ms, after_ms), comparison.interval, unit=comparison.unit, macs_ratio=macs_ratio, pairs=pairs,
        off_stairs=off_stair,
    )  # fmt: skip
    return Explanation(
        before=pair[0].path,
        after=pair[1].path,
        target=target,
        ratio=comparison.ratio,
        interval=comparison.interval,
        before_ms=before_ms,
        after_ms=after_ms,
        macs_ratio=macs_ratio,
        layers=pairs,
        appeared=slowdown.find_appeared(pairs),
        off_stair=off_stair,
        memory_bound_before=slowdown.find_memory_bound(before),
        memory_bound_after=slowdown.find_memory_bound(after),
        not_delegated_before=slowdown.find_not_delegated(before),
        not_delegated_after=slowdown.find_not_delegated(after),
        source=timed.source,
        not_timed=timed.not_timed,
        sentence=sentence,
        unit=comparison.unit,
    )

"""Why one file is (or is not) faster than another of the same format: both timed, then layer by layer."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune import plugins
from deploy_prune.analysis import layer_times, slowdown, xnnpack_delegation
from deploy_prune.analysis.layer_times import LayerTime
from deploy_prune.analysis.slowdown import Appeared, LayerPair, OffStair, TimeShare
from deploy_prune.errors import ConfigError, DeployPruneError, InputError, NoSpeedUp
from deploy_prune.formats.templates import TEMPLATES, OperatorKind, Template, TemplateFormat
from deploy_prune.timing.bracketing import BLOCK_TIMEOUT_S, PACE, compare
from deploy_prune.timing.devices import THIS_MACHINE, Device, Job, device_at
from deploy_prune.timing.files import is_run, of_run, runtime_of
from deploy_prune.values import FP32, Comparison, Interval, Progress, Target, quiet

if TYPE_CHECKING:
    from deploy_prune.values import NodeTime

logger = logging.getLogger(__name__)

PROFILE_MS = 1500.0
"""The time for which a profiler looks at a file, in ms."""
FEWEST_RUNS, MOST_RUNS = 10, 300
STEPS = 3
Tiles = Mapping[OperatorKind, int]
"""Kind of operator -> how many channels its kernel computes at a time."""
DELEGATES = ("litert",)
"""Runtimes whose files are not always computed by one and the same library."""


@dataclass(frozen=True)
class Explanation:
    """Two files of one format, the second one held against the first."""

    before: str
    after: str
    target: Target
    ratio: float
    """The second file's time as a ratio to the first one's, bracketed by it."""
    interval: Interval
    before_ms: float
    after_ms: float
    macs_ratio: float
    layers: tuple[LayerPair, ...]
    """In order; their times add up to the whole files'."""
    appeared: tuple[Appeared, ...]
    off_stair: tuple[OffStair, ...]
    memory_bound_before: TimeShare
    memory_bound_after: TimeShare
    not_delegated_before: TimeShare
    not_delegated_after: TimeShare
    source: str
    """Where the layers' times are from."""
    not_timed: tuple[str, ...]
    """Operators that do not run alone, so that they have no time of their own."""
    sentence: str

    @property
    def faster(self) -> bool:
        """Whether the interval stays below 1."""
        return self.interval[1] < 1


def explain(
    before: Path | str,
    after: Path | str | None = None,
    *,
    threads: int = 1,
    tiles: Tiles | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Explanation, ...]:
    """Say why a network's file is as fast as it is, held against the file of the network that it was cut from.

    Args:
        before: a file, or (alone) a run folder: the dense and the pruned file of each format that it exported.
        after: another file of the same format.
        threads: of the runtime.
        tiles: kind of operator -> channels that its kernel computes at a time.
        seed: of the random inputs and of the bootstrap.
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
        raise ConfigError(f"a file cannot be timed with {threads} threads", hint="1 or more")
    pairs = _pairs(Path(before), None if after is None else Path(after))
    device = device_at(THIS_MACHINE)
    cores = device.cores(threads)
    return tuple(
        _explained(pair, Job(pair[0], runtime_of(pair[0]), threads, cores, seed), device, tiles, progress)
        for pair in pairs
    )


def judge(explanations: Sequence[Explanation]) -> None:
    """Raise NoSpeedUp where a file is not faster."""
    slow = [each for each in explanations if not each.faster]
    if slow:
        said = "; ".join(f"{Path(each.after).name}: {each.sentence}" for each in slow)
        hint = "widths in multiples of 16 avoid the kernels' steps (--multiple 16); a smaller budget cuts more"
        raise NoSpeedUp(f"not faster: {said}", hint=hint)


def _pairs(before: Path, after: Path | None) -> list[tuple[Path, Path]]:
    if after is None:
        if before.exists() and not is_run(before):
            raise ConfigError(f"{before} is one file", hint="name the file to hold against it as well, or a run folder")
        return _of_run(before)
    folders = [path for path in (before, after) if path.exists() and is_run(path)]
    if folders:
        hint = "name a run folder alone, or two files"
        raise ConfigError(f"{folders[0]} is a folder, and there is another path", hint=hint)
    for path in (before, after):
        runtime_of(path)
        _format_of(path)
    if before.suffix != after.suffix:
        hint = "`deploy-prune bench` says which format of a network is faster"
        raise ConfigError(f"{before} and {after} are of two formats: their layers are not the same", hint=hint)
    return [(before, after)]


def _of_run(run: Path) -> list[tuple[Path, Path]]:
    if not run.exists():
        raise InputError(f"{run} does not exist", hint="check the path")
    by_suffix: dict[str, list[Path]] = {}
    for path in of_run(run).files:
        by_suffix.setdefault(path.suffix, []).append(path)
    for suffix in by_suffix.keys() - _formats().keys():
        logger.warning("skipped the %s files of %s: nothing here takes them apart", suffix, run)
        del by_suffix[suffix]
    pairs = [(files[0], files[1]) for files in by_suffix.values() if len(files) == 2]
    if not pairs:
        hint = f"export one of {', '.join(_formats())}"
        raise InputError(f"the run {run} has no dense and pruned file whose layers can be timed here", hint=hint)
    return pairs


def _formats() -> dict[str, str]:
    """Suffix -> skeleton format."""
    return {plugins.load(TEMPLATES, name).suffix: name for name in plugins.names(TEMPLATES)}


def _format_of(path: Path) -> TemplateFormat:
    formats = _formats()
    if path.suffix not in formats:
        hint = f"known: {', '.join(sorted(formats))}"
        raise InputError(f"the layers of {path} cannot be timed: nothing here takes {path.suffix} apart", hint=hint)
    found: TemplateFormat = plugins.build(TEMPLATES, formats[path.suffix])
    return found


def _template(path: Path) -> Template:
    try:
        template = _format_of(path).read(path.read_bytes())
    except DeployPruneError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint) from error
    # the runtime has opened it, so that it is whole, but flatbuffers and protobuf have no common error
    except Exception as error:
        raise InputError(f"{path} cannot be taken apart: {error}", hint="export it again") from error
    if not any(layer.macs for layer in layer_times.of_structure(template.structure)):
        raise InputError(f"{path} has no layers with fp32 weights", hint="export it in fp32")
    return template


@dataclass(frozen=True)
class _Timed:
    """The layers of both files, with times of unknown scale."""

    before: tuple[LayerTime, ...]
    after: tuple[LayerTime, ...]
    source: str
    not_timed: tuple[str, ...] = ()


def _explained(
    paths: tuple[Path, Path], job: Job, device: Device, tiles: Tiles | None, progress: Progress
) -> Explanation:
    jobs = [Job(path, job.runtime, job.threads, job.cores, job.seed) for path in paths]
    with ExitStack() as stack:
        workers = [stack.enter_context(device.start(each)) for each in jobs]
        templates = [_template(path) for path in paths]
        progress("explain", 0, STEPS, f"{job.path.suffix}, whole files")
        comparison = compare(workers[0], workers[1], PACE, seed=job.seed)
        progress("explain", 1, STEPS, f"{job.path.suffix}, layers")
        times_ms = comparison.reference, comparison.ratio * comparison.reference
        nodes = [
            worker.profile(_runs(ms), timeout_s=BLOCK_TIMEOUT_S) for worker, ms in zip(workers, times_ms, strict=True)
        ]
    timed = _profiled(templates, nodes, job) if all(nodes) else _alone(templates, paths, job, device, progress)
    progress("explain", STEPS, STEPS)
    target = Target(device.fingerprint, job.runtime, workers[0].version, job.threads, FP32)
    return _concluded(paths, target, comparison, timed, tiles)


def _runs(ms: float) -> int:
    return min(max(round(PROFILE_MS / ms), FEWEST_RUNS), MOST_RUNS)


def _profiled(templates: Sequence[Template], nodes: Sequence[Sequence[NodeTime]], job: Job) -> _Timed:
    before, after = (
        layer_times.profiled(template.structure, own) for template, own in zip(templates, nodes, strict=True)
    )
    return _Timed(before, after, f"{job.runtime}'s profiler, scaled to the whole files")


def _alone(
    templates: Sequence[Template], paths: Sequence[Path], job: Job, device: Device, progress: Progress
) -> _Timed:
    with tempfile.TemporaryDirectory(prefix="deploy-prune-") as folder:
        readings = layer_times.alone(templates, job, device, Path(folder), progress)
    found, missing = [], []
    for template, path, alone_ms in zip(templates, paths, readings, strict=True):
        operators = template.structure.operators
        taken = xnnpack_delegation.ask_delegated(path, len(operators)) if job.runtime in DELEGATES else frozenset()
        found.append(layer_times.timed(template.structure, alone_ms, taken))
        missing += [layer.name for layer, ms in zip(found[-1], alone_ms, strict=True) if ms is None]
    return _Timed(found[0], found[1], "one-operator files, scaled to the whole files", tuple(dict.fromkeys(missing)))


def _concluded(
    paths: tuple[Path, Path],
    target: Target,
    comparison: Comparison,
    timed: _Timed,
    tiles: Tiles | None,
) -> Explanation:
    before_ms, after_ms = comparison.reference, comparison.ratio * comparison.reference
    before, after = layer_times.scaled(timed.before, before_ms), layer_times.scaled(timed.after, after_ms)
    macs_ratio = sum(layer.macs for layer in after) / sum(layer.macs for layer in before)
    pairs = slowdown.align(before, after)
    off_stair = slowdown.find_off_stair(pairs, tiles)
    pairs = slowdown.attribute_losses(pairs, macs_ratio, off_stair)
    return Explanation(
        before=str(paths[0]),
        after=str(paths[1]),
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
        sentence=slowdown.word_the_speed_up(
            (before_ms, after_ms), comparison.interval, macs_ratio=macs_ratio, pairs=pairs, off_stairs=off_stair
        ),
    )

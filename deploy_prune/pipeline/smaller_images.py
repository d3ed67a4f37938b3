"""The dense network on smaller images: often the cheaper lever, and so a control of every front."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.latency.timer import timer
from deploy_prune.errors import DataError, ExportFailed, TraceError
from deploy_prune.exporting.file_bytes import export_bytes
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.graph import trace
from deploy_prune.graph.recount import recount
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.outlook import SMALLER
from deploy_prune.run_folder import RunFolder
from deploy_prune.sources import checkpoint
from deploy_prune.sources.data import read_data
from deploy_prune.train import Hooks, evaluate, fit
from deploy_prune.train.accelerator import choose_accelerator, move_network
from deploy_prune.values import Count, Interval, Network, Quality

SIDE_MULTIPLE = 4
STATE = "training.safetensors"


@dataclass(frozen=True)
class SmallerRun:
    """What became of one size."""

    input_shape: tuple[int, int, int]
    reason: str = ""
    """Why there is nothing else: the network does not take this size."""
    count: Count | None = None
    val: Quality | None = None
    test: Quality | None = None
    ratio: float | None = None
    """Time / time at its own size, on the first of the run's thread counts."""
    interval: Interval | None = None


def smaller_shapes(config: RunConfig) -> Iterator[tuple[int, int, int]]:
    """Sizes to try: 192, 160 and 128 of 224, and the like of others."""
    own = checkpoint.description(Path(config.model)).input_shape
    found = (
        (own[0], *(max(SIDE_MULTIPLE, SIDE_MULTIPLE * round(share * side / SIDE_MULTIPLE)) for side in own[1:]))
        for share in SMALLER
    )
    for channels, height, width in dict.fromkeys(found):
        if height < own[1] and width < own[2]:
            yield channels, height, width


def smaller_run(config: RunConfig, shape: tuple[int, int, int], folder: RunFolder, hooks: Hooks) -> SmallerRun:
    """Fine-tune the network at a size by the run's recipe, judge it, export it and time it against its own size.

    Args:
        config: of a run whose model is a folder with the dense network.
        shape: channels, height, width.
        folder: to go on from.
        hooks: the caller's own.
    """
    whole = checkpoint.load(Path(config.model))
    small = dataclasses.replace(whole, input_shapes=(shape,))
    try:
        trace(small)  # a flattened image leaves a linear layer no choice
        data = read_data(config.data, size=shape[1:], options=config.data_options)
    except (TraceError, DataError) as error:
        return SmallerRun(shape, error.message.splitlines()[0])
    small = move_network(small, choose_accelerator(config.accelerator))
    if config.finetune is not None:
        small = fit(small, data, config.finetune, hooks=hooks, checkpoint=folder.path / STATE,
                    progress=folder.progress)  # fmt: skip
    val, test = (evaluate(small, split, data, hooks=hooks) for split in (data.val, data.test))
    try:
        ratio, interval = _time(whole, small, config)
    except ExportFailed as error:
        return SmallerRun(shape, error.message.splitlines()[0])
    return SmallerRun(shape, "", recount(small), val, test, ratio, interval)


def _time(whole: Network, small: Network, config: RunConfig) -> tuple[float, Interval]:
    format_ = plugins.load(TEMPLATES, format_of(config.runtime))
    dense, smaller = (export_bytes(network, format_.exporter) for network in (whole, small))
    with timer(dense, format_.suffix, Place(config.runtime, threads=config.threads[0]).target) as timed:
        found = timed(smaller)
    return found.ratio, found.interval

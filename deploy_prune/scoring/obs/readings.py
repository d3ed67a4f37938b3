"""What the layers that read a group's units read: their moments over images, in one walk through the network."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deploy_prune.errors import Diverged, TraceError
from deploy_prune.scoring.obs.elimination import Reading
from deploy_prune.scoring.obs.flat_readers import FlatReaders
from deploy_prune.scoring.obs.hooked_readers import HookedReaders
from deploy_prune.scoring.obs.readers import Reader, Readers, Seen
from deploy_prune.train.refit.forms import Rows, as_blocks, join_rows, sample_rows
from deploy_prune.train.refit.moments import measure_moments
from deploy_prune.train.refit.norms import Statistics
from deploy_prune.values import ChannelGraph, Network, Progress, quiet

logger = logging.getLogger(__name__)

MOST_INPUTS = 8192
"""The inputs of a layer above which its units count as independent: their products would fill the memory."""


@dataclass(frozen=True)
class Sampling:
    """How moments are taken."""

    batch_size: int = 25
    """How many images are worked on at once, at most."""
    positions: int = 49
    """How many output positions of each image, at most."""
    seed: int = 0
    """Draws the positions."""


def measure_readings(
    network: Network, graph: ChannelGraph, images: Tensor, sampling: Sampling, progress: Progress = quiet
) -> Mapping[str, tuple[Reading, ...]]:
    """Measure how every free group is read; groups that nothing reads in a known way are left out.

    Args:
        network: the dense network.
        graph: its channel graph.
        images: as the network takes them, (images, channels, height, width).
        sampling: how moments are taken.
        progress: told layer by layer.

    Raises:
        Diverged: a layer reads or gives NaN or infinity.
    """
    readings: dict[str, list[Reading]] = {}
    for reader, rows, landed in walk_readers(network, graph, images, sampling, progress):
        for name, reading in _make_readings(reader, rows, landed):
            readings.setdefault(name, []).append(reading)
    return {name: tuple(each) for name, each in readings.items()}


def walk_readers(
    network: Network, graph: ChannelGraph, images: Tensor, sampling: Sampling, progress: Progress = quiet
) -> Iterator[tuple[Reader, list[Rows], Statistics]]:
    """Give every layer that reads units, front to back, with what it read and the stream that it lands in."""
    size = min(sampling.batch_size, len(images))
    batches = [images[start : start + size] for start in range(0, len(images) - size + 1, size)]
    source = _open(network, graph, batches)
    for number, reader in enumerate(source.readers):
        see, rows, landed = source.watch(reader), list[Rows](), Statistics()
        for batch in range(len(batches)):
            seen = see(batch)
            rows.append(_sample(reader, seen, (sampling, number, batch)))
            landed.add(seen.landed.movedim(reader.form.channel_axis, 1))
        yield reader, rows, landed
        progress("moments", number + 1, len(source.readers), reader.weight)


def _open(network: Network, graph: ChannelGraph, batches: Sequence[Tensor]) -> Readers:
    try:
        return FlatReaders(network, graph, batches)
    except TraceError as error:
        logger.info("OBS runs the network whole for every layer: %s", error)
        return HookedReaders(network, graph, batches)


def _sample(reader: Reader, seen: Seen, drawn: tuple[Sampling, int, int]) -> Rows:
    sampling, number, batch = drawn
    seed = [sampling.seed, number, batch]
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
    kernel = () if reader.form.kind == "linear" else reader.values.shape[2:]
    parts = [
        sample_rows(reader.form, kernel, given, [gave], positions=sampling.positions, generator=generator)
        for given, gave in seen.calls
    ]
    return join_rows([Rows(part.inputs, part.outputs[:, :, :0]) for part in parts])


def _make_readings(reader: Reader, rows: Sequence[Rows], landed: Statistics) -> Iterator[tuple[str, Reading]]:
    """How a layer reads each of its groups: all of them see the same inputs, each has columns of its own."""
    blocks = as_blocks(reader.values.double(), reader.form)
    if reader.slope is not None:
        blocks = blocks * reader.slope.double().reshape(blocks.shape[0], -1, 1)
    variance = float(landed.finish()[1].sum())
    if not (math.isfinite(variance) and all(bool(each.inputs.isfinite().all()) for each in rows)):
        raise Diverged(f"'{reader.weight}' reads or gives NaN or infinity", hint="look at the weights and the images")
    variance = variance or math.inf  # of a constant nothing can be lost
    products = judged = None
    if blocks.shape[2] <= MOST_INPUTS:
        _, products, judged = measure_inputs(rows)
    for name, columns in reader.columns.items():
        here = columns.to(blocks.device)
        own = _measure_own(rows, here) if products is None else None
        yield name, Reading(products, own, blocks, here, variance, judged)


def _split(rows: Sequence[Rows]) -> tuple[list[Rows], list[Rows]]:
    """The batches that decide, and those that judge: every fourth, or the last of few."""
    judging = set(range(3, len(rows), 4)) or set(range(1, len(rows))[-1:])
    return [each for number, each in enumerate(rows) if number not in judging], [rows[number] for number in judging]


def _measure_around(mean: Tensor, rows: Sequence[Rows]) -> Tensor:
    """Mean products of inputs around given means: (blocks, inputs, inputs)."""
    total = torch.zeros((len(mean), mean.shape[1], mean.shape[1]), dtype=mean.dtype, device=mean.device)
    for each in rows:
        inputs = (each.inputs.to(mean) - mean).transpose(0, 1)
        total += inputs.transpose(1, 2) @ inputs
    return total / sum(each.count for each in rows)


def measure_inputs(rows: Sequence[Rows]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Measure inputs: their means (blocks, inputs), their mean centred products (blocks, inputs, inputs), and these
    on held-out batches, around the same means; None: there is one batch.
    """
    fitted, held_out = _split(rows)
    moments = measure_moments(fitted, number=len(fitted))
    mean, products = moments.input_mean, moments.inputs
    if products is None:
        assert moments.rows is not None  # fewer than inputs
        inputs = moments.rows.inputs.transpose(0, 1)
        products = inputs.transpose(1, 2) @ inputs / moments.count
    return mean, products, _measure_around(mean, held_out) if held_out else None


def _measure_own(rows: Sequence[Rows], columns: Tensor) -> Tensor:
    """The same for each unit's own columns alone: (units, blocks, columns, columns)."""
    count = sum(each.count for each in rows)
    mean = torch.stack([each.inputs.double().sum(0) for each in rows]).sum(0) / count
    total = mean.new_zeros((len(columns), len(mean), columns.shape[1], columns.shape[1]))
    for each in rows:
        own = (each.inputs.double() - mean)[:, :, columns].permute(2, 1, 3, 0)  # (units, blocks, columns, rows)
        total += own @ own.transpose(2, 3)
    return total / count

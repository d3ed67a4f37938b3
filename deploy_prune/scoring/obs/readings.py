"""What the layers that read a group's units read: their moments over images, in one walk through the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from deploy_prune.errors import Diverged
from deploy_prune.graph.flat_layers import (
    ADDS,
    CallsByWeight,
    LayerForm,
    find_norm,
    form_of,
    frontier_before,
    input_of,
    only_user,
)
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.scoring.obs.elimination import Reading
from deploy_prune.train.cached_prefix import CachedPrefix
from deploy_prune.train.refit.forms import Rows, as_blocks, join_rows, sample_rows
from deploy_prune.train.refit.moments import measure_moments
from deploy_prune.values import ChannelGraph, Network, Progress, quiet

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


@dataclass(frozen=True, eq=False)
class _Reader:
    """A layer that reads units."""

    weight: str
    calls: tuple[Node, ...]
    form: LayerForm
    landing: Node
    """The stream that what it gives lands in."""
    columns: Mapping[str, Tensor]
    """Group -> the inputs of each of its units within a block of the layer: int64 (units, columns)."""


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
        TraceError: torch.export cannot follow the network.
        Diverged: a layer reads or gives NaN or infinity.
    """
    size = min(sampling.batch_size, len(images))
    batches = [images[start : start + size] for start in range(0, len(images) - size + 1, size)]
    weights = tuple(dict.fromkeys(layer.weight for layer in graph.layers))
    flat = flatten(network, weights, batch=size)
    readers = _list_readers(flat, graph, weights)
    prefix = CachedPrefix(flat, [flat.images(batch) for batch in batches])
    readings: dict[str, list[Reading]] = {}
    for number, reader in enumerate(readers):
        prefix.advance(frontier_before(flat, reader.calls[0]), flat.tensors)
        values = prefix.reader([*map(input_of, reader.calls), *reader.calls, reader.landing], flat.tensors)
        rows = [_sample(flat, reader, values(batch), (sampling, number, batch)) for batch in range(len(batches))]
        for name, columns in reader.columns.items():
            readings.setdefault(name, []).append(_make_reading(flat, reader, rows, columns))
        progress("moments", number + 1, len(readers), reader.weight)
    return {name: tuple(each) for name, each in readings.items()}


def _list_readers(flat: Flat, graph: ChannelGraph, weights: Sequence[str]) -> list[_Reader]:
    """The layers whose inputs go when a unit of a free group goes, and that are not cut along, in order."""
    calls_of = CallsByWeight(flat)
    readers = []
    for weight in sorted((each for each in weights if each in calls_of.calls), key=calls_of.first_place):
        calls, shape = calls_of.calls[weight], tuple(flat.tensors[weight].shape)
        forms = {form_of(call, flat.tensors[weight]) for call in calls}
        form = next(iter(forms))
        if len(forms) == 1 and form is not None and (columns := _columns_by_group(graph, weight, form, shape)):
            readers.append(_Reader(weight, calls, form, _find_landing(flat, calls), columns))
    return readers


def _columns_by_group(graph: ChannelGraph, weight: str, form: LayerForm, shape: tuple[int, ...]) -> dict[str, Tensor]:
    if form.kind == "transposed" and form.groups > 1:
        return {}
    axis, places = (0 if form.kind == "transposed" else 1), math.prod(shape[2:])
    columns: dict[str, Tensor] = {}
    for group in graph.free:
        for member in group.members:
            if (member.parameter, member.axis) == (weight, axis):
                inputs = member.indices[:, :, None] * places + np.arange(places)
                columns[group.name] = torch.from_numpy(inputs.reshape(group.width, -1))
    return columns


def _find_landing(flat: Flat, calls: Sequence[Node]) -> Node:
    """Where what a layer gives arrives: behind its norm and the addition to a stream, where there are these."""
    norm = only_user(calls[0]) if find_norm(flat, calls) is not None else None
    landing = calls[0] if norm is None else norm
    add = only_user(landing)
    return add if add is not None and str(add.target) in ADDS and len(calls) == 1 else landing


@dataclass(frozen=True, eq=False)
class _Sampled:
    """What was seen of a layer in one batch."""

    rows: Rows
    sums: Tensor
    """The sum and the sum of squares of each channel of the stream it lands in: float64 (2, channels)."""
    count: int
    """How many values of each channel these are of."""


def _sample(flat: Flat, reader: _Reader, values: Mapping[Node, Tensor], drawn: tuple[Sampling, int, int]) -> _Sampled:
    sampling, number, batch = drawn
    seed = [sampling.seed, number, batch]
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
    kernel = () if reader.form.kind == "linear" else flat.tensors[reader.weight].shape[2:]
    parts = [
        sample_rows(
            reader.form, kernel, values[input_of(call)], [values[call]],
            positions=sampling.positions, generator=generator,
        )
        for call in reader.calls
    ]  # fmt: skip
    rows = join_rows([Rows(part.inputs, part.outputs[:, :, :0]) for part in parts])
    landed = values[reader.landing].movedim(reader.form.channel_axis, 0).flatten(1).double()
    return _Sampled(rows, torch.stack([landed.sum(1), landed.square().sum(1)]), landed.shape[1])


def _make_reading(flat: Flat, reader: _Reader, sampled: Sequence[_Sampled], columns: Tensor) -> Reading:
    weight = flat.tensors[reader.weight].double()
    blocks = as_blocks(weight, reader.form)
    norm = find_norm(flat, reader.calls)
    if norm is not None:
        blocks = blocks * norm.slope(flat.tensors).double().reshape(blocks.shape[0], -1, 1)
    columns = columns.to(blocks.device)
    count = sum(each.count for each in sampled)
    mean, square = torch.stack([each.sums for each in sampled]).sum(0) / count
    variance = float((square - mean.square()).clamp(min=0).sum())
    if not (math.isfinite(variance) and all(bool(each.rows.inputs.isfinite().all()) for each in sampled)):
        raise Diverged(f"'{reader.weight}' reads or gives NaN or infinity", hint="look at the weights and the images")
    variance = variance or math.inf  # of a constant nothing can be lost
    if blocks.shape[2] <= MOST_INPUTS:
        return Reading(_measure_products(sampled), None, blocks, columns, variance)
    return Reading(None, _measure_own(sampled, columns), blocks, columns, variance)


def _measure_products(sampled: Sequence[_Sampled]) -> Tensor:
    """Mean products of centred inputs: (blocks, inputs, inputs)."""
    moments = measure_moments((each.rows for each in sampled), number=len(sampled))
    if moments.inputs is not None:
        return moments.inputs
    assert moments.rows is not None  # fewer than inputs
    rows = moments.rows.inputs.transpose(0, 1)
    return rows.transpose(1, 2) @ rows / moments.count


def _measure_own(sampled: Sequence[_Sampled], columns: Tensor) -> Tensor:
    """The same for each unit's own columns alone: (units, blocks, columns, columns)."""
    count = sum(each.rows.count for each in sampled)
    mean = torch.stack([each.rows.inputs.double().sum(0) for each in sampled]).sum(0) / count
    total = mean.new_zeros((len(columns), len(mean), columns.shape[1], columns.shape[1]))
    for each in sampled:
        own = (each.rows.inputs.double() - mean)[:, :, columns].permute(2, 1, 3, 0)  # (units, blocks, columns, rows)
        total += own @ own.transpose(2, 3)
    return total / count

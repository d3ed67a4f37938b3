"""Cuts a network: what is kept becomes a new, physically smaller network that shares no state with the dense one.

The new module is a deep copy whose memo already holds the sliced tensors: nothing is copied to be thrown away, and
whatever the user's modules keep beside their tensors comes along.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.errors import PlanError
from deploy_prune.values import ChannelGraph, Gather, Keep, Network

Indices = Mapping[str, Mapping[int, np.ndarray]]
"""Parameter -> axis -> indices that stay (ascending, shape (kept,)), for every axis that loses some."""


def cut(network: Network, graph: ChannelGraph, keep: Keep) -> Network:
    """Remove every unit that `keep` does not name.

    Raises:
        PlanError: an unknown or locked group, or unit numbers that do not exist.
    """
    check(graph, keep)
    kept = kept_indices(graph, keep)
    memo: dict[int, Tensor] = {}
    for name, tensor in _named_tensors(network.module):
        memo[id(tensor)] = _slice(tensor, kept.get(name, {}))
    for gather in graph.gathers:
        _remap(network.module, memo, graph, (gather, keep))
    module: nn.Module = copy.deepcopy(network.module, memo)
    whole = {layer.weight: layer.whole_groups for layer in (*graph.layers, *graph.training_layers)}
    by_tensor = {id(tensor): whole.get(name, False) for name, tensor in _named_tensors(network.module)}
    for part, original in zip(module.modules(), network.module.modules(), strict=True):
        if isinstance(original, nn.modules.conv._ConvNd):
            _resize_convolution(part, original, whole=by_tensor.get(id(original.weight), False))
        else:
            _resize(part, original)
    masks = {name: _slice(mask, kept.get(name, {})) for name, mask in network.masks.items()}
    return dataclasses.replace(
        network, module=module, kept=_compose(network.kept, kept), whole_groups=whole, masks=masks
    )


def uncut(small: Tensor, kept: Mapping[int, np.ndarray], dense: Tensor) -> Tensor:
    """Put a tensor of a cut network in its place in a copy of the dense one; `kept` is its row of `kept_indices`."""
    axes = [torch.from_numpy(kept.get(axis, np.arange(size))) for axis, size in enumerate(dense.shape)]
    whole = dense.detach().clone()
    if axes:
        whole[torch.meshgrid(*axes, indexing="ij")] = small.detach().to(dense.dtype)
        return whole
    return whole.copy_(small)


def check(graph: ChannelGraph, keep: Keep) -> None:
    """Refuse what does not fit the network, saying which group and why."""
    groups = {group.name: group for group in graph.groups}
    for name, units in keep.items():
        group = groups.get(name)
        if group is None:
            raise PlanError(
                f"the plan names a group '{name}' that the network does not have",
                hint="`deploy-prune inspect` lists the network's groups",
            )
        if group.locked and len(units) != group.width:
            raise PlanError(
                f"group '{name}' cannot be cut: {group.locked}", hint="leave it out of the plan: it then stays whole"
            )
        if len(units) == 0:
            raise PlanError(f"group '{name}' keeps no unit", hint="keep at least one of every group")
        if list(units) != sorted(set(units)) or units[0] < 0 or units[-1] >= group.width:
            hint = f"unit numbers are 0 ... {group.width - 1}, ascending, each once"
            wrong = [unit for unit in units if not 0 <= unit < group.width]
            what = f"units that do not exist, such as {wrong[0]}" if wrong else "units twice or in no order"
            raise PlanError(f"group '{name}' keeps {what}", hint=hint)


def kept_indices(graph: ChannelGraph, keep: Keep) -> Indices:
    """Parameter -> axis -> dense indices that stay, for every axis that loses some."""
    masks: dict[tuple[str, int], np.ndarray] = {}
    for group in graph.groups:
        units = keep.get(group.name)
        if units is None or len(units) == group.width:
            continue
        dropped = np.ones(group.width, dtype=bool)
        dropped[np.asarray(units)] = False
        for member in group.members:
            size = graph.shapes[member.parameter][member.axis]
            stays = masks.setdefault((member.parameter, member.axis), np.ones(size, dtype=bool))
            stays[member.indices[dropped]] = False
    kept: dict[str, dict[int, np.ndarray]] = {}
    for (parameter, axis), stays in masks.items():
        kept.setdefault(parameter, {})[axis] = np.flatnonzero(stays)
    return kept


def kept_units(graph: ChannelGraph, keep: Keep) -> np.ndarray:
    """Which units stay, by their global numbers: bool, shape (units,)."""
    stays = np.ones(sum(group.width for group in graph.groups), dtype=bool)
    starts = unit_offsets(graph)
    for group in graph.groups:
        if group.name in keep:
            first = starts[group.name]
            stays[first : first + group.width] = np.isin(np.arange(group.width), np.asarray(keep[group.name]))
    return stays


def _compose(before: Indices, now: Indices) -> Indices:
    """Work out which dense indices are left after a second cut: (2, 5, 7) and then (0, 2) are (2, 7)."""
    names = dict.fromkeys([*before, *now])
    return {name: _compose_axes(before.get(name, {}), now.get(name, {})) for name in names}


def _compose_axes(before: Mapping[int, np.ndarray], now: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    both = {axis: before[axis][now[axis]] for axis in before if axis in now}
    return {**before, **now, **both}


def unit_offsets(graph: ChannelGraph) -> dict[str, int]:
    """Group -> the global number of its first unit."""
    starts = np.cumsum([0, *(group.width for group in graph.groups)])
    return {group.name: int(start) for group, start in zip(graph.groups, starts, strict=False)}


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _slice(tensor: Tensor, axes: Mapping[int, np.ndarray]) -> Tensor:
    data = tensor.detach()
    for axis, indices in axes.items():
        data = data.index_select(axis, torch.from_numpy(indices).to(data.device))
    data = data if axes else data.clone()
    return nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data


def _remap(module: nn.Module, memo: dict[int, Tensor], graph: ChannelGraph, change: tuple[Gather, Keep]) -> None:
    """Rewrite the values of an index buffer: old channel numbers of its input become new ones."""
    gather, keep = change
    stays = kept_units(graph, keep)
    input_stays = np.where(gather.units < 0, True, stays[gather.units])
    position = torch.from_numpy(np.cumsum(input_stays) - 1)
    buffer = module.get_buffer(gather.buffer)
    memo[id(buffer)] = position.to(buffer.device)[memo[id(buffer)]]


# --- sizes that modules keep beside their tensors ------------------------------------------------------------


def _resize(part: nn.Module, original: nn.Module) -> None:
    for kind, resize in SIZES.items():
        if isinstance(part, kind):
            resize(part, original)


def _resize_convolution(part: nn.Module, original: nn.modules.conv._ConvNd, *, whole: bool) -> None:
    assert isinstance(part, nn.modules.conv._ConvNd)
    outputs, inputs = (1, 0) if part.transposed else (0, 1)
    if whole:
        rows_per_group = original.weight.shape[0] // original.groups
        part.groups = part.weight.shape[0] // rows_per_group
    part.out_channels = part.weight.shape[outputs] * (part.groups if part.transposed else 1)
    part.in_channels = part.weight.shape[inputs] * (1 if part.transposed else part.groups)


def _resize_linear(part: nn.Module, original: nn.Module) -> None:
    del original
    assert isinstance(part, nn.Linear)
    part.out_features, part.in_features = part.weight.shape


def _resize_norm(part: nn.Module, original: nn.Module) -> None:
    del original
    assert isinstance(part, nn.modules.batchnorm._NormBase)
    for tensor in (part.weight, part.running_mean):
        if tensor is not None:
            part.num_features = tensor.shape[0]


def _resize_group_norm(part: nn.Module, original: nn.Module) -> None:
    del original
    assert isinstance(part, nn.GroupNorm)
    if part.affine:
        part.num_channels = part.weight.shape[0]


def _resize_layer_norm(part: nn.Module, original: nn.Module) -> None:
    del original
    assert isinstance(part, nn.LayerNorm)
    if part.elementwise_affine:
        part.normalized_shape = tuple(part.weight.shape)


def _resize_prelu(part: nn.Module, original: nn.Module) -> None:
    del original
    assert isinstance(part, nn.PReLU)
    part.num_parameters = part.weight.shape[0]


def _resize_embedding(part: nn.Module, original: nn.Module) -> None:
    del original
    assert isinstance(part, nn.Embedding)
    part.num_embeddings, part.embedding_dim = part.weight.shape


SIZES: Mapping[type[nn.Module], Callable[[nn.Module, nn.Module], None]] = {
    nn.Linear: _resize_linear,
    nn.modules.batchnorm._NormBase: _resize_norm,
    nn.GroupNorm: _resize_group_norm,
    nn.LayerNorm: _resize_layer_norm,
    nn.PReLU: _resize_prelu,
    nn.Embedding: _resize_embedding,
}

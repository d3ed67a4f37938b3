"""Units that are left without any kernel go as channels: nothing makes them, or nothing reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from deploy_prune.scoring.discrimination.candidates import readers_of
from deploy_prune.values import ChannelGraph, Group, Member


def promote_empty_units(
    graph: ChannelGraph, keep: Mapping[str, tuple[int, ...]], masks: Mapping[str, Tensor]
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, Tensor]]:
    """Let units without any kernel go as channels: none that reads them is left, or none that makes them.

    A unit that nothing makes is a constant, which goes as well. Returned are the units that stay, and the masks
    without what goes with the others.

    Args:
        graph: the dense network's.
        keep: group -> its units so far, for the groups that may lose more.
        masks: kernels that stay, in the dense network's shapes.
    """
    left, masks = dict(keep), {name: mask.clone() for name, mask in masks.items()}
    groups = [group for group in graph.free if group.name in keep]
    shrinking = True
    while shrinking:  # what reads a unit that goes may leave another one without readers
        shrinking = False
        for group in groups:
            units = np.array(left[group.name])
            stays = units[_find_alive(graph, group, masks)[units]]
            stays = stays if stays.size else units[:1]
            if stays.size < units.size:
                shrinking = True
                left[group.name] = tuple(stays.tolist())
                _clear_masks(group, np.setdiff1d(units, stays), masks)
    return left, masks


def _find_alive(graph: ChannelGraph, group: Group, masks: Mapping[str, Tensor]) -> np.ndarray:
    """Find the units of a group that have a kernel that makes them, and one that reads them: bool, shape (units,)."""
    made = {(layer.weight, layer.output_axis) for layer in graph.layers if not layer.whole_groups}
    makers = [member for member in group.members if (member.parameter, member.axis) in made]
    alive = np.ones(group.width, bool)
    for members in (makers, readers_of(graph, group)):
        if members and all(member.parameter in masks for member in members):
            alive &= np.any([_any_kernel(masks[each.parameter], each) for each in members], axis=0)
    return alive


def _any_kernel(mask: Tensor, member: Member) -> np.ndarray:
    rows = mask.movedim(member.axis, 0).flatten(1).any(1).numpy()
    per_unit: np.ndarray = rows[member.indices].any(axis=1)
    return per_unit


def _clear_masks(group: Group, units: np.ndarray, masks: Mapping[str, Tensor]) -> None:
    """Take out of the masks what goes with these units."""
    for member in group.members:
        if member.parameter in masks:
            masks[member.parameter].movedim(member.axis, 0)[torch.from_numpy(member.indices[units].ravel())] = False

"""What is selected by discrimination: channels of groups (DCP), kernels of convolutions (DKP).

A group of channels is selected in the layers that read it; where several do (a residual stream, a dense block) their
gradients are added up, whichever way they share it, each layer from its own inputs to its own head. Published is one
reader only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.budget.allocate import best_units
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.discrimination.greedy import Channels, Growth, Kernels
from deploy_prune.scoring.discrimination.layerwise import ReferenceNetwork, Task, selected
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress
from deploy_prune.values import ChannelGraph, Group, Member, Progress, Scores, Selection, Widths, quiet


@dataclass(frozen=True)
class ChannelRule:
    """How the channels of a group are selected."""

    growth: Growth
    """Counts are set group by group."""
    steps: int = 8
    """In which a whole group would be taken in: ceil(channels / steps) at once."""
    score: str = "paper"
    floor: float = 0.1
    """Share of a group that is kept before the rule may stop."""

    def of(self, group: Group, width: int) -> Growth:
        """For one group."""
        floor = min(width, max(2, math.ceil(self.floor * group.width)))
        per_step = math.ceil(group.width / self.steps)
        return dataclasses.replace(self.growth, count=width, per_step=per_step, floor=floor)


def readers_of(graph: ChannelGraph, group: Group) -> tuple[Member, ...]:
    """Where layers read a group; a depthwise layer makes what it reads, and is none of them."""
    inputs = {(layer.weight, 1 - layer.output_axis) for layer in graph.layers if not layer.whole_groups}
    return tuple(member for member in group.members if (member.parameter, member.axis) in inputs)


def channels(
    scene: ReferenceNetwork, graph: ChannelGraph, widths: Widths, rule: ChannelRule, notebook: SelectionProgress,
    *, progress: Progress = quiet,
) -> Selection:  # fmt: skip
    """Which units of the groups in `widths` stay, and the weights of the layers that read them.

    A group that no layer reads keeps the units with the largest filters.

    Raises:
        Diverged: the loss became NaN; groups that are finished stay in the notebook.
    """
    tasks = [
        Task(
            group.name,
            tuple(_columns(member, graph, rule.score) for member in readers_of(graph, group)),
            rule.of(group, widths[group.name]),
        )
        for group in graph.free
        if group.name in widths
    ]
    done = selected(scene, tasks, notebook, progress=progress)
    unread = {task.name: widths[task.name] for task in tasks if task.name not in done.chosen}
    keep = dict(best_units(Scores(filter_norms(scene.network.module, graph, power=2)), unread))
    keep |= {name: tuple(torch.nonzero(chosen).flatten().tolist()) for name, chosen in done.chosen.items()}
    return Selection(keep, weights=done.weights)


def _columns(member: Member, graph: ChannelGraph, score: str) -> tuple[str, Channels]:
    shape = graph.shapes[member.parameter]
    return member.parameter, Channels(member.axis, torch.from_numpy(member.indices), shape, score)


@dataclass(frozen=True)
class KernelRule:
    """How the kernels of a layer are selected."""

    growth: Growth
    """Counts are set layer by layer."""
    rate: float = 0.5
    """Share of a layer's kernels that is kept (at the most, where the rule may stop)."""
    filters: int = 1
    """So many filters in a row keep kernels of the same input channels (1xN)."""
    steps: int = 64
    """In which a whole layer would be taken in."""

    def of(self, candidates: int) -> Growth:
        """For one layer."""
        count = math.ceil(self.rate * candidates)
        floor = max(1, math.ceil(count / 10))
        return dataclasses.replace(self.growth, count=count, per_step=math.ceil(candidates / self.steps), floor=floor)


def kernels(
    scene: ReferenceNetwork,
    weights: Sequence[str],
    rule: KernelRule,
    notebook: SelectionProgress,
    *,
    progress: Progress = quiet,
) -> Selection:
    """Which kernels of some convolutions stay (`masks`), and the weights that were trained with them.

    Raises:
        Diverged: the loss became NaN; layers that are finished stay in the notebook.
    """
    units = {weight: Kernels(tuple(scene.flat.tensors[weight].shape), rule.filters) for weight in weights}
    tasks = [Task(weight, ((weight, each),), rule.of(each.candidates)) for weight, each in units.items()]
    done = selected(scene, tasks, notebook, progress=progress)
    return Selection({}, {name: units[name].mask(chosen) for name, chosen in done.chosen.items()}, done.weights)


def masked_layers(scene: ReferenceNetwork) -> tuple[str, ...]:
    """Weights of the convolutions whose kernels may go: plain ones (one group), but those that read the image."""
    found = []
    for name, part in scene.network.module.named_modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.groups == 1:
            path = scene.flat.path(f"{name}.weight", (scene.flat.output,))
            if path is not None and scene.flat.image not in path.part.given:
                found.append(f"{name}.weight")
    return tuple(found)


def promoted(
    graph: ChannelGraph, keep: Mapping[str, tuple[int, ...]], masks: Mapping[str, Tensor]
) -> tuple[Mapping[str, tuple[int, ...]], Mapping[str, Tensor]]:
    """What stays when units without any kernel go as channels: none that reads them is left, or none that makes them.

    And the masks without what goes with them. A unit that nothing makes is a constant, which goes as well.

    Args:
        graph: of the dense network.
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
            stays = units[_alive(graph, group, masks)[units]]
            stays = stays if stays.size else units[:1]
            if stays.size < units.size:
                shrinking = True
                left[group.name] = tuple(stays.tolist())
                _clear(group, np.setdiff1d(units, stays), masks)
    return left, masks


def _alive(graph: ChannelGraph, group: Group, masks: Mapping[str, Tensor]) -> np.ndarray:
    """Whether each unit of a group has a kernel that makes it, and one that reads it."""
    made = {(layer.weight, layer.output_axis) for layer in graph.layers if not layer.whole_groups}
    makers = [member for member in group.members if (member.parameter, member.axis) in made]
    alive = np.ones(group.width, bool)
    for members in (makers, readers_of(graph, group)):
        if members and all(member.parameter in masks for member in members):
            alive &= np.any([_any_kernel(masks[each.parameter], each) for each in members], axis=0)
    return alive


def _any_kernel(mask: Tensor, member: Member) -> np.ndarray:
    rows = mask.movedim(member.axis, 0).flatten(1).any(1).numpy()
    found: np.ndarray = rows[member.indices].any(axis=1)
    return found


def _clear(group: Group, units: np.ndarray, masks: Mapping[str, Tensor]) -> None:
    """Take out of the masks what goes with these units."""
    for member in group.members:
        if member.parameter in masks:
            masks[member.parameter].movedim(member.axis, 0)[torch.from_numpy(member.indices[units].ravel())] = False

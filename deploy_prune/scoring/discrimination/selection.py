"""What is selected by discrimination: channels of groups (DCP), kernels of convolutions (DKP).

A group of channels is selected in the layers that read it; where several do (a residual stream, a dense block) their
gradients are added up, whichever way they share it, each layer from its own inputs to its own head. Published is one
reader only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.discrimination.candidates import Channels, Kernels, readers_of
from deploy_prune.scoring.discrimination.greedy import Growth
from deploy_prune.scoring.discrimination.layerwise import ReferenceNetwork, Task, select_in_order
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress
from deploy_prune.scoring.top_units import best_units
from deploy_prune.values import ChannelGraph, Group, Member, Progress, Scores, Selection, Widths, quiet


@dataclass(frozen=True)
class ChannelRule:
    """How the channels of a group are selected."""

    growth: Growth
    """How a selection grows; its counts are set group by group."""
    steps: int = 8
    """In how many steps a whole group would be taken in: ceil(channels / steps) at once."""
    score: str = "paper"
    """How hard a channel is pulled at (`Channels.score`)."""
    floor: float = 0.1
    """The share of a group that is kept before the rule may stop."""

    def of(self, group: Group, width: int) -> Growth:
        """How the selection in one group grows, to `width` units."""
        floor = min(width, max(2, math.ceil(self.floor * group.width)))
        per_step = math.ceil(group.width / self.steps)
        return dataclasses.replace(self.growth, count=width, per_step=per_step, floor=floor)


def select_channels(
    scene: ReferenceNetwork, graph: ChannelGraph, widths: Widths, rule: ChannelRule, notebook: SelectionProgress,
    *, progress: Progress = quiet,
) -> Selection:  # fmt: skip
    """Select the units of the groups in `widths` that stay, and train the weights of the layers that read them.

    A group that no layer reads keeps the units with the largest filters.

    Raises:
        Diverged: the loss became NaN; groups that are finished stay in the notebook.
    """
    tasks = [
        Task(
            group.name,
            tuple(_columns_read(member, graph, rule.score) for member in readers_of(graph, group)),
            rule.of(group, widths[group.name]),
        )
        for group in graph.free
        if group.name in widths
    ]
    done = select_in_order(scene, tasks, notebook, progress=progress)
    unread = {task.name: widths[task.name] for task in tasks if task.name not in done.chosen}
    keep = dict(best_units(Scores(filter_norms(scene.network.module, graph, power=2)), unread))
    keep |= {name: tuple(torch.nonzero(chosen).flatten().tolist()) for name, chosen in done.chosen.items()}
    return Selection(keep, weights=done.weights)


def _columns_read(member: Member, graph: ChannelGraph, score: str) -> tuple[str, Channels]:
    shape = graph.shapes[member.parameter]
    return member.parameter, Channels(member.axis, torch.from_numpy(member.indices), shape, score)


@dataclass(frozen=True)
class KernelRule:
    """How the kernels of a layer are selected."""

    growth: Growth
    """How a selection grows; its counts are set layer by layer."""
    rate: float = 0.5
    """The share of a layer's kernels that is kept (at the most, where the rule may stop)."""
    filters: int = 1
    """How many filters in a row keep kernels of the same input channels (1xN)."""
    steps: int = 64
    """In how many steps a whole layer would be taken in."""

    def of(self, candidates: int) -> Growth:
        """How the selection in one layer of so many candidates grows."""
        count = math.ceil(self.rate * candidates)
        floor = max(1, math.ceil(count / 10))
        return dataclasses.replace(self.growth, count=count, per_step=math.ceil(candidates / self.steps), floor=floor)


def select_kernels(
    scene: ReferenceNetwork,
    weights: Sequence[str],
    rule: KernelRule,
    notebook: SelectionProgress,
    *,
    progress: Progress = quiet,
) -> Selection:
    """Select the kernels of some convolutions that stay (`masks`), and train the weights with them.

    Raises:
        Diverged: the loss became NaN; layers that are finished stay in the notebook.
    """
    units = {weight: Kernels(tuple(scene.flat.tensors[weight].shape), rule.filters) for weight in weights}
    tasks = [Task(weight, ((weight, each),), rule.of(each.candidates)) for weight, each in units.items()]
    done = select_in_order(scene, tasks, notebook, progress=progress)
    return Selection({}, {name: units[name].mask(chosen) for name, chosen in done.chosen.items()}, done.weights)


def masked_layers(scene: ReferenceNetwork) -> tuple[str, ...]:
    """The weights of the convolutions whose kernels may go: plain ones (one group), but those that read the image."""
    weights = []
    for name, part in scene.network.module.named_modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.groups == 1:
            path = scene.flat.path(f"{name}.weight", (scene.logits,))
            if path is not None and scene.flat.image not in path.part.given:
                weights.append(f"{name}.weight")
    return tuple(weights)

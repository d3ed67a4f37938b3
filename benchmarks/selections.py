"""Selections at given widths: what they make of a network, and the control whose channels are drawn by lot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.trained import Pruned
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.discrimination.candidates import Channels, readers_of
from deploy_prune.scoring.discrimination.greedy import Growth
from deploy_prune.scoring.discrimination.heads import HeadRecipe
from deploy_prune.scoring.discrimination.layerwise import Settings, Task, prepare_reference, select_in_order
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress
from deploy_prune.scoring.discrimination.selection import ChannelRule
from deploy_prune.scoring.methods.dcp import Dcp
from deploy_prune.scoring.study import Study
from deploy_prune.sources.weights import replace_weights
from deploy_prune.values import Network, Selection


def halves(subject: Pruned) -> dict[str, int]:
    """Half of the units of every group that the scope lets go."""
    whole = subject.limits.scope == "full"
    return {group.name: group.width // 2 for group in subject.graph.free if whole or not group.residual}


def small(subject: Pruned, selection: Selection) -> Network:
    """The network that is left, with the weights and masks that the selection gave."""
    changed = replace_weights(subject.network, selection.weights or {})
    return cut(dataclasses.replace(changed, masks=selection.masks), subject.graph, selection.keep)


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn(Channels):
    """Input channels that enter in an order that was drawn, however hard they are pulled at."""

    lot: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0))

    def pull(self, gradient: Tensor) -> Tensor:
        """The lot."""
        del gradient
        return self.lot


def by_lot(study: Study, widths: Mapping[str, int], settings: Dcp) -> Selection:
    """DCP in everything but its choice: the same steps, and the same training of what entered."""
    stage = Settings(
        settings.heads, HeadRecipe(settings.head_epochs, settings.head_images), settings.images, settings.batch_size
    )
    notebook = SelectionProgress(None, "drawn")
    scene = prepare_reference(study, stage, notebook)
    drawn = np.random.default_rng(study.seed)
    rule = ChannelRule(Growth(0, 1, balance=settings.balance, lr=settings.lr), settings.steps)
    tasks = []
    for group in study.graph.free:
        if widths.get(group.name, group.width) < group.width:
            lot = torch.from_numpy(drawn.random(group.width))
            layers = tuple(
                (member.parameter, Drawn(member.axis, torch.from_numpy(member.indices),
                                         study.graph.shapes[member.parameter], lot=lot))
                for member in readers_of(study.graph, group)
            )  # fmt: skip
            tasks.append(Task(group.name, layers, rule.of(group, widths[group.name])))
    done = select_in_order(scene, tasks, notebook)
    whole = {group.name: tuple(range(group.width)) for group in study.graph.free}
    chosen = {name: tuple(torch.nonzero(units).flatten().tolist()) for name, units in done.chosen.items()}
    return Selection({**whole, **chosen}, weights=done.weights)

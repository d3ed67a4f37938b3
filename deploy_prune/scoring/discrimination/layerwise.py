"""Selection by discrimination: heads on a reference network, then one selection after the other, front to back.

What the methods `dcp` and `dkp` share (arXiv 1810.11809, algorithm 1, in the order of the authors' second release: all
heads first, then all layers in a row without training between them).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.fx import Node

from deploy_prune.graph.flat_network import Flat, Tensors, flatten
from deploy_prune.scoring.discrimination.blocks import block_ends, class_logits, head_blocks
from deploy_prune.scoring.discrimination.cached_batches import SelectionSet, selection_set
from deploy_prune.scoring.discrimination.candidates import Units
from deploy_prune.scoring.discrimination.greedy import Growth, ReadingLayer, grow
from deploy_prune.scoring.discrimination.heads import (
    Head,
    HeadRecipe,
    head_weight,
    make_heads,
    modules_at,
    train_heads,
    train_jointly,
)
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress
from deploy_prune.scoring.study import Study
from deploy_prune.sources.data import check_classes, check_fit
from deploy_prune.train.accelerator import move_tensors
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Network, Progress, quiet

logger = logging.getLogger(__name__)

CHOSEN = "chosen"
HEAD = "head {}"
USUAL_HEADS = 3
"""How many heads the paper's ResNet-56 has: one per five to ten layers suffices."""


@dataclass(frozen=True)
class Settings:
    """What a selection rests on: its heads and its images."""

    heads: int | None
    """How many heads are placed; None: three, or as many as there are places."""
    recipe: HeadRecipe
    """How they are trained."""
    images: int
    """How many training images it looks at; what does not fill a batch is left out."""
    batch_size: int
    """How many images are worked on at once."""


@dataclass(frozen=True, eq=False)
class ReferenceNetwork:
    """A reference network with its heads and its selection set."""

    network: Network
    flat: Flat
    """The network's operators, with its weights."""
    logits: Node
    """The network's own answer, (batch, classes)."""
    heads: Mapping[Node, Head]
    """The end of a block -> the head that sits there."""
    desk: SelectionSet
    """The selection set, with what is cached of it."""

    def reader(self, weight: str, units: Units, tensors: Tensors) -> ReadingLayer | None:
        """Describe a layer up to the next head behind it, or to the logits; None: the network does not use it."""
        path = self.flat.path(weight, (*self.heads, self.logits))
        if path is None:
            return None
        return ReadingLayer(path, units, self.heads.get(path.goal), self.flat.tensors[weight], tensors[weight])

    def state(self, changed: Tensors) -> dict[str, Tensor]:
        """Give the reference network's numbers with some weights changed, on the CPU (of several names, the first)."""
        state = self.network.module.state_dict()
        return move_tensors(
            {name: changed.get(name, value) for name, value in state.items() if value.is_floating_point()}
        )


def prepare_reference(study: Study, stage: Settings, notebook: SelectionProgress) -> ReferenceNetwork:
    """Place heads, train them (and the network with them, if that is asked for), and read the selection set.

    Raises:
        TraceError: torch.export cannot follow the network.
        ConfigError: no classifier, too few blocks or images, or a training that diverges.
        DataError: network and data do not belong together.
    """
    assert study.data is not None
    network, recipe = study.network, stage.recipe
    check_fit(network, study.data)
    check_classes(network, study.data)
    classes = len(study.data.classes)
    flat, blocks, ends = _place_heads(study, network, stage)
    batches = selection_set(study.data, stage.images, stage.batch_size, seed=study.seed)
    heads = make_heads(ends, classes, seed=study.seed, device=flat.device)
    if recipe.joint_epochs and heads:
        names = modules_at(flat, ends, network, batches[0].images)
        shares = {name: head_weight(block, blocks[-1]) for name, block in zip(names, blocks, strict=True)}
        joint = Recipe(recipe.joint_epochs, stage.batch_size, lr=recipe.joint_lr, seed=study.seed)
        network, heads = train_jointly(study, shares, heads, joint)
        flat, _, ends = _place_heads(study, network, stage)
    study.progress("heads", 0, 1)
    heads = _recall_heads(heads, notebook) or train_heads(flat, ends, heads, study.data, recipe, seed=study.seed)
    for number, head in enumerate(heads):
        notebook.add(HEAD.format(number), head.state_dict())
    study.progress("heads", 1, 1)
    by_end = dict(zip(ends, heads, strict=True))
    return ReferenceNetwork(
        network, flat, class_logits(flat, network, classes), by_end, SelectionSet(flat, batches, flat.tensors)
    )


def _place_heads(study: Study, network: Network, stage: Settings) -> tuple[Flat, tuple[int, ...], list[Node]]:
    """Give the network's operators, the numbers of the blocks that get a head, and those blocks' ends."""
    assert study.data is not None
    flat = flatten(network, [layer.weight for layer in study.graph.layers], batch=stage.batch_size)
    class_logits(
        flat, network, len(study.data.classes)
    )  # before anything else is said about a network that is no classifier
    ends = block_ends(flat)
    heads = max(1, min(USUAL_HEADS, len(ends) - 1)) if stage.heads is None else stage.heads
    blocks = head_blocks(len(ends), heads)
    return flat, blocks, [ends[block - 1] for block in blocks]


def _recall_heads(heads: Sequence[Head], notebook: SelectionProgress) -> tuple[Head, ...]:
    """Restore the heads that were trained before an interruption; empty: they were not."""
    states = [notebook.recall(HEAD.format(number)) for number in range(len(heads))]
    if None in states:
        return ()
    for head, state in zip(heads, states, strict=True):
        head.load_state_dict(state or {})
    return tuple(head.eval().requires_grad_(False) for head in heads)


# --- layer by layer ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Task:
    """One selection: the same candidates in one or several layers."""

    name: str
    """The name of the group, or of the weight."""
    layers: tuple[tuple[str, Units], ...]
    """The weight of each layer, and how the candidates lie in it."""
    growth: Growth
    """How the selection grows."""


@dataclass(frozen=True, eq=False)
class Done:
    """What was selected."""

    chosen: Mapping[str, Tensor]
    """Task -> which candidates stay, bool of (candidates,); tasks of which the network uses no layer are not here."""
    weights: Mapping[str, Tensor]
    """All numbers of the network, as the last task has left them."""


def select_in_order(
    scene: ReferenceNetwork, tasks: Sequence[Task], notebook: SelectionProgress, *, progress: Progress = quiet
) -> Done:
    """Do all tasks front to back; each begins with the network that those before it have left.

    Raises:
        Diverged: the loss became NaN; what is finished stays in the notebook.
    """
    tensors, changed = dict(scene.flat.tensors), dict[str, Tensor]()
    chosen: dict[str, Tensor] = {}
    began, ordered = time.monotonic(), _sort_by_place(scene, tasks)
    for number, task in enumerate(ordered):
        finished = notebook.recall(task.name)
        if finished is None:
            finished = _select(scene, task, tensors)
            notebook.add(task.name, finished)
        chosen[task.name] = finished.pop(CHOSEN).cpu()
        changed |= {name: value.to(tensors[name].device) for name, value in finished.items()}
        tensors |= changed
        left_s = (time.monotonic() - began) / (number + 1) * (len(ordered) - number - 1)
        progress("selecting", number + 1, len(ordered), f"{task.name}, about {left_s:.0f} s left")
    return Done(chosen, scene.state(changed))


def _sort_by_place(scene: ReferenceNetwork, tasks: Sequence[Task]) -> list[Task]:
    """Sort tasks by the first place where one of their layers is called; those of which none is called are left out."""
    firsts = {}
    for task in tasks:
        layers = _readers_of(scene, task, scene.flat.tensors)
        if layers:
            firsts[task.name] = min(layer.path.first for layer in layers)
    return sorted((task for task in tasks if task.name in firsts), key=lambda task: firsts[task.name])


def _readers_of(scene: ReferenceNetwork, task: Task, tensors: Tensors) -> list[ReadingLayer]:
    readers = [scene.reader(weight, units, tensors) for weight, units in task.layers]
    return [each for each in readers if each is not None]


def _select(scene: ReferenceNetwork, task: Task, tensors: Tensors) -> dict[str, Tensor]:
    readers = _readers_of(scene, task, tensors)
    rows = scene.desk.rows([each.path for each in readers], tensors)
    grown = grow(task.name, readers, rows, tensors, task.growth)
    first, last = (f"L_M {grown.reconstruction[place]:.4f}, L_S {grown.discrimination[place]:.4f}" for place in (0, -1))
    kept = int(grown.chosen.sum())
    logger.info("%s: %d of %d; %s at first, %s before the last step", task.name, kept, len(grown.chosen), first, last)
    weights = {reader.path.weight: weight for reader, weight in zip(readers, grown.weights, strict=True)}
    return {CHOSEN: grown.chosen, **weights}

"""DKP, reconstructed: discrimination-aware kernel pruning (Liu et al., TPAMI 2021, arXiv 2001.01050).

Of the paper we know the abstract alone, and its authors' repository holds no kernel pruning: this is our reading, and
results say so. Channels are selected first, as DCP does, at the given widths; then, in every convolution of the
network that is left (but those that read the image, and grouped ones), the kernels that the same loss pulls at hardest.
A removed kernel is a 0 in a dense tensor: it saves multiply-adds in theory, and time only in a runtime that skips it.
What is left without any kernel goes as a channel.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut, kept_indices, uncut
from deploy_prune.scoring.discrimination.candidates import readers_of
from deploy_prune.scoring.discrimination.empty_units import promote_empty_units
from deploy_prune.scoring.discrimination.greedy import Growth
from deploy_prune.scoring.discrimination.heads import HeadRecipe
from deploy_prune.scoring.discrimination.layerwise import ReferenceNetwork, Settings, prepare_reference
from deploy_prune.scoring.discrimination.progress_file import SelectionProgress
from deploy_prune.scoring.discrimination.selection import (
    ChannelRule,
    KernelRule,
    masked_layers,
    select_channels,
    select_kernels,
)
from deploy_prune.scoring.discrimination.stopping import StartRelative, StepRelative, Stop
from deploy_prune.scoring.methods import Selector
from deploy_prune.scoring.study import Study
from deploy_prune.setting_rules import SettingRule, check_settings
from deploy_prune.sources.weights import replace_weights
from deploy_prune.train.accelerator import move_tensors
from deploy_prune.train.state import fingerprint
from deploy_prune.values import ChannelGraph, Keep, Network, Selection, Widths

NAME = "dkp (reconstructed)"
CHANNELS, KERNELS = "dkp-channels.safetensors", "dkp-kernels.safetensors"


@dataclass(frozen=True)
class Dkp:
    """How kernels are selected; what is not said here is as `dcp` has it."""

    needs_labels: ClassVar[bool] = True

    rate: float = 0.5
    """The share of each layer's kernels that stays, of those that its channels leave."""
    filters: int = 1
    """How many filters in a row keep kernels of the same input channels (1xN)."""
    stop: Literal["relative", "dcp"] = "relative"
    """Which loss a change is held against, with `epsilon`: the one before it, or (`dcp`) the one at the start."""
    epsilon: float | None = None
    """The selection stops where the loss improves by no more than this share; None: at the rate."""
    patience: int = 3
    """How many times in a row the loss must improve so little."""
    steps: int = 64
    """ceil(kernels / steps) enter at once."""
    heads: int | None = None
    """How many heads are placed; None: three, or as many as fit."""
    head_epochs: int = 3
    """How many epochs heads are trained for."""
    head_images: int = 3_000
    """How many training images heads are trained on."""
    images: int = 1024
    """How many training images the selection set has."""
    batch_size: int = 128
    """How many images are worked on at once."""
    balance: float = 1.0
    """Lambda: the weight of the discrimination loss."""
    lr: float = 0.01
    """The learning rate while kernels are selected."""

    def __post_init__(self) -> None:
        if self.stop not in ("relative", "dcp"):
            raise ConfigError(f"method 'dkp' has no stop {self.stop!r}", hint="known: relative, dcp")
        check_settings("method 'dkp'", self, self._rules())

    def _rules(self) -> tuple[SettingRule, ...]:
        at_least_one = ("filters", "patience", "steps", "images")
        not_negative = ("heads", "head_epochs", "balance", "epsilon")
        return (
            ("rate", "above 0 and at most 1", 0 < self.rate <= 1),
            *((name, "1 or more", vars(self)[name] >= 1) for name in at_least_one),
            ("batch_size", "2 or more", self.batch_size >= 2),
            ("lr", "above 0", self.lr > 0),
            *((name, "0 or more", (vars(self)[name] or 0) >= 0) for name in not_negative),
        )

    def select(self, study: Study, widths: Widths) -> Selection:
        """Select at most `widths[group]` units of every group and kernels, and give the network's new weights.

        Raises:
            ConfigError: no images, too few of them, no classifier, too few blocks, or a loss that became NaN.
            TraceError: torch.export cannot follow the network.
        """
        narrow = {
            group.name: widths[group.name]
            for group in study.graph.free
            if widths.get(group.name, group.width) < group.width
        }
        before = self._channels(study, narrow) if narrow else Selection({})
        dense = replace_weights(study.network, before.weights or {})
        masks, weights = self._kernels(study, dense, before.keep)
        allowed = [group for group in study.graph.free if not (study.scope == "inner" and group.residual)]
        units = {group.name: before.keep.get(group.name, tuple(range(group.width))) for group in study.graph.free}
        left, kept_masks = promote_empty_units(study.graph, {group.name: units[group.name] for group in allowed}, masks)
        _silence(study.graph, {**units, **left}, weights)
        weights |= {name: weights[name] * mask for name, mask in kept_masks.items()}
        return Selection({**units, **left}, kept_masks, weights, method=NAME)

    def _channels(self, study: Study, narrow: dict[str, int]) -> Selection:
        scene, notebook = self._scene(study, study.network, study.graph, (CHANNELS, sorted(narrow.items())))
        rule = ChannelRule(Growth(0, 1, balance=self.balance, lr=self.lr))
        return select_channels(scene, study.graph, narrow, rule, notebook, progress=study.progress)

    def _kernels(self, study: Study, dense: Network, keep: Keep) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Select in the network without the removed channels; masks and weights have the dense network's shapes."""
        small = cut(dense, study.graph, keep)
        scene, notebook = self._scene(study, small, trace(small), (KERNELS, sorted(keep.items())))
        stops: dict[str, type[StartRelative | StepRelative]] = {"relative": StepRelative, "dcp": StartRelative}
        stop: Stop | None = None if self.epsilon is None else stops[self.stop](self.epsilon, self.patience)
        rule = KernelRule(Growth(0, 1, stop, balance=self.balance, lr=self.lr), self.rate, self.filters, self.steps)
        small_selection = select_kernels(scene, masked_layers(scene), rule, notebook, progress=study.progress)
        indices, state = kept_indices(study.graph, keep), move_tensors(dense.module.state_dict())
        small_masks = small_selection.masks
        nothing = {name: torch.zeros_like(state[name], dtype=torch.bool) for name in small_masks}
        masks = {name: uncut(mask, indices.get(name, {}), nothing[name]) for name, mask in small_masks.items()}
        changed = (small_selection.weights or {}).items()
        weights = {name: uncut(value, indices.get(name, {}), state[name]) for name, value in changed}
        return masks, weights

    def _scene(
        self, study: Study, network: Network, graph: ChannelGraph, what: tuple[str, object]
    ) -> tuple[ReferenceNetwork, SelectionProgress]:
        part = dataclasses.replace(study, network=network, graph=graph)
        described = (network.address, study.images("dkp", labelled=self.needs_labels).name, study.seed, self, what)
        path: Path | None = study.folder / what[0] if study.folder else None
        notebook = SelectionProgress(path, fingerprint(network.module, *described))
        stage = Settings(self.heads, HeadRecipe(self.head_epochs, self.head_images), self.images, self.batch_size)
        return prepare_reference(part, stage, notebook), notebook


def _silence(graph: ChannelGraph, keep: Keep, weights: dict[str, Tensor]) -> None:
    """Let nothing read a unit that goes, so that the masked network is the cut one."""
    for group in graph.free:
        gone = sorted(set(range(group.width)) - set(keep[group.name]))
        for member in readers_of(graph, group) if gone else ():
            weight = weights[member.parameter].clone()
            weight.movedim(member.axis, 0)[torch.from_numpy(member.indices[gone].ravel())] = 0.0
            weights[member.parameter] = weight


plugin: type[Selector] = Dkp

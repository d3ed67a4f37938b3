"""Torch-Pruning, the other pruner of the table at equal milliseconds: eight configurations, cut by its own code."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from deploy_prune.values import ChannelGraph, Network

CONFIGURATIONS = {
    f"torch-pruning {importance} {scope}{' of 16' * bool(rounded)}": (importance, scope == "global", rounded)
    for importance in ("group norm", "BN scale")
    for scope in ("global", "local")
    for rounded in (None, 16)
}


def cut_by(network: Network, configuration: str, ratio: float) -> nn.Module:
    """A copy that has lost this share of its channels."""
    import torch_pruning

    kind, everywhere, rounded = CONFIGURATIONS[configuration]
    module = copy.deepcopy(network.module)
    importance = (
        torch_pruning.importance.BNScaleImportance()
        if kind == "BN scale"
        else torch_pruning.importance.GroupMagnitudeImportance(p=2)
    )
    classifier = [part for part in module.modules() if isinstance(part, nn.Linear)]
    pruner = torch_pruning.pruner.BasePruner(
        module, torch.zeros(1, *network.input_shape), importance=importance, global_pruning=everywhere,
        pruning_ratio=ratio, round_to=rounded, ignored_layers=[*classifier, *_stream(network, module)],
        max_pruning_ratio=0.9,
    )  # fmt: skip
    pruner.step()
    return module


def _stream(network: Network, module: nn.Module) -> list[nn.Module]:
    """ResNet-20's shortcut is a table of channel numbers that Torch-Pruning cannot rewrite: its stream stays whole."""
    if not network.address.startswith("resnet"):
        return []
    return [part for name, part in module.named_modules() if name == "conv1" or name.endswith(".conv2")]


def widths_of(module: nn.Module, graph: ChannelGraph) -> np.ndarray:
    """The widths of the free groups; one that has no tensor's axis to itself (a stream that grows) is whole."""
    parameters: dict[str, Any] = dict(module.named_parameters())
    widths = []
    for group in graph.free:
        alone = [each for each in group.members if each.indices.size == graph.shapes[each.parameter][each.axis]]
        width = group.width
        if alone:
            width = parameters[alone[0].parameter].shape[alone[0].axis] // group.channels_per_unit
        widths.append(width)
    return np.array(widths)

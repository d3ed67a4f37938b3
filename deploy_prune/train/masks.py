"""Removed kernels stay removed while a network is trained."""

from __future__ import annotations

import torch

from deploy_prune.values import Network


def apply_masks(network: Network) -> Network:
    """Set the network's own removed kernels back to 0, where momentum and decay have moved them, gradients or not."""
    with torch.no_grad():
        for name, mask in network.masks.items():
            weight = network.module.get_parameter(name)
            weight.mul_(mask.to(weight.device))
    return network

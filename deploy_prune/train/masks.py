"""Removed kernels stay removed while a network is trained."""

from __future__ import annotations

import torch

from deploy_prune.values import Network


def masked(network: Network) -> Network:
    """The network itself, its removed kernels back at 0: momentum and decay move them, gradients or not."""
    with torch.no_grad():
        for name, mask in network.masks.items():
            weight = network.module.get_parameter(name)
            weight.mul_(mask.to(weight.device))
    return network

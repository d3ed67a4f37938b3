"""Tells which network a file was made of, so that two formats of one network are known to be the same network."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from deploy_prune.values import Network, NetworkIdentity


def identify(network: Network) -> NetworkIdentity:
    """The address of a network with a digest of its weights and of the shapes of its inputs.

    Where its tensors live, and whether it trains or is judged, makes no difference.
    """
    digest = hashlib.sha256(repr((network.address, network.input_shapes)).encode())
    for name, tensor in sorted(network.module.state_dict().items()):
        if isinstance(tensor, Tensor):  # a module's state may hold other things
            digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return NetworkIdentity(network.address, digest.hexdigest())

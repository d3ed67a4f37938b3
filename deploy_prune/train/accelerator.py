"""Where networks are trained and judged: one function chooses, and everything else goes where the weights lie.

A network lies where its weights lie. What trains it, judges it or scores it moves images there, batch by batch, and
leaves it there; what is handed on to files, scores and plans lies on the CPU, and so do export and parity. Images are
drawn, cropped and flipped on the CPU, so that every accelerator sees the same ones.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from deploy_prune.errors import Unavailable, UnknownName
from deploy_prune.values import Network

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
AUTO = "auto"

Probe = Callable[[], str]
"""Returns why a device cannot be used; an empty text says that it can."""


def _find_trouble_with_cuda() -> str:
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return _find_trouble_when_used(torch.device("cuda"))


def _find_trouble_with_mps() -> str:
    if not torch.backends.mps.is_available():
        return "torch sees no Apple GPU"
    return _find_trouble_when_used(torch.device("mps"))


def _find_trouble_when_used(device: torch.device) -> str:
    """Add two numbers there: a device can be listed and still be too old, full, or held by somebody else."""
    try:
        torch.ones(1, device=device).add(1).item()
    except RuntimeError as error:
        return str(error).strip().split("\n")[0]
    return ""


PROBES: Mapping[str, Probe] = {"cuda": _find_trouble_with_cuda, "mps": _find_trouble_with_mps, "cpu": str}
"""Accelerator -> its probe, in the order in which `auto` tries them."""


def choose_accelerator(wish: str = AUTO, probes: Mapping[str, Probe] = PROBES) -> torch.device:
    """The device that a wish stands for.

    Raises:
        UnknownName: the wish is neither `auto` nor the name of an accelerator.
        Unavailable: the accelerator is not there, or cannot be used.
    """
    if wish != AUTO:
        if wish not in probes:
            raise UnknownName("accelerator", wish, (AUTO, *probes))
        if trouble := probes[wish]():
            hint = "leave --accelerator out to take what is there, or install a torch that is built for this device"
            raise Unavailable(f"accelerator '{wish}' cannot be used: {trouble}", hint=hint)
        return torch.device(wish)
    for name, probe in probes.items():
        if not (trouble := probe()):
            return torch.device(name)
        logger.debug("accelerator '%s' is not taken: %s", name, trouble)
    return CPU


def describe_accelerator(device: torch.device) -> str:
    """What records call a device: `cpu`, `mps`, or `cuda (NVIDIA H100 PCIe)`."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def find_device(module: nn.Module) -> torch.device:
    """Where a module's parameters lie; the CPU for a module without any."""
    return next((parameter.device for parameter in module.parameters()), CPU)


def move_network(network: Network, device: torch.device) -> Network:
    """The network itself where it lies there already, else a copy on that device; masks go with the weights."""
    if find_device(network.module) == device and all(mask.device == device for mask in network.masks.values()):
        return network
    module = copy.deepcopy(network.module).to(device)
    return dataclasses.replace(network, module=module, masks=move_tensors(network.masks, device))


def move_tensors(tensors: Mapping[str, Tensor], device: torch.device = CPU) -> dict[str, Tensor]:
    """Tensors by name on a device, without their gradients' history."""
    return {name: tensor.detach().to(device) for name, tensor in tensors.items()}


def fork_generators(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside the block, on the CPU and on this device, leaves the caller's generators as they were."""
    if device.type in ("cuda", "mps"):
        return torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)
    return torch.random.fork_rng(devices=[])


WAITS: Mapping[str, Callable[[], None]] = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}
"""Device type -> how to wait until it has computed what it was given; the CPU never runs ahead."""


def wait_for(device: torch.device) -> None:
    """Return when the device has computed everything it was given: a clock read earlier times nothing."""
    if device.type in WAITS:
        WAITS[device.type]()

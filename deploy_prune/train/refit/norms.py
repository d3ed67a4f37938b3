"""The statistics of batch norms, measured on what they read in a network that is being refitted, and what they hold.

In evaluation mode a norm gives gamma (x - m) / sqrt(v + eps) + beta with what it holds, in training mode with what a
batch has. After a refit that has kept norms as they were the two differ, and training would start from a worse network
than the refit has left. With the statistics M, V of what it reads now, and

    gamma' = gamma sqrt(V + eps) / sqrt(v + eps)        beta' = beta + gamma (M - m) / sqrt(v + eps)

in their place it gives the same in evaluation mode, and the same in training mode, too.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deploy_prune.train.accelerator import find_device
from deploy_prune.values import Network

BATCH_SIZE = 50
"""How many images are run at once."""


@dataclass
class Statistics:
    """The mean and variance of every channel, summed up in float64. Not a value: it grows."""

    count: int = 0
    """The numbers of each channel that were added."""
    origin: Tensor | None = None
    """About where they lie: float64 forgets little of numbers near 0."""
    sums: list[Tensor] = field(default_factory=list)
    """The sums of the differences to the origin, and of their squares: shape (channels,) each."""
    calls: int = 0
    """How often numbers were added."""

    def add(self, value: Tensor) -> None:
        """Add what a norm reads, (images, channels, ...)."""
        rows = value.movedim(1, 0).flatten(1)
        rows = rows.to("cpu" if rows.device.type == "mps" else rows.device, torch.float64)
        if self.origin is None:
            self.origin = rows.mean(1, keepdim=True)
            self.sums = [torch.zeros_like(self.origin[:, 0]) for _ in range(2)]
        rows = rows - self.origin
        self.sums = [self.sums[0] + rows.sum(1), self.sums[1] + rows.square().sum(1)]
        self.count += rows.shape[1]
        self.calls += 1

    def finish(self) -> tuple[Tensor, Tensor]:
        """Give the mean and the unbiased variance of every channel: shape (channels,) each."""
        assert self.origin is not None
        mean = self.sums[0] / self.count
        variance = (self.sums[1] - self.count * mean.square()) / max(1, self.count - 1)
        return self.origin[:, 0] + mean, variance.clamp(min=0)


def measure_statistics(read: Callable[[int], Tensor], batches: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Measure the mean and the unbiased variance of every channel over some batches: shape (channels,) each.

    Args:
        read: the number of a batch -> what the norm reads, (images, channels, ...).
        batches: their numbers.
    """
    statistics = Statistics()
    for number in batches:
        statistics.add(read(number))
    return statistics.finish()


def reexpress_norms(network: Network, images: Tensor) -> Network:
    """Write the norms of a network with the statistics of what they read now; it computes the same, up to rounding.

    Norms without a scale and shift of their own, or called more than once, stay as they are.

    Args:
        network: the network; it is not touched.
        images: what it takes, (images, channels, height, width).
    """
    module = copy.deepcopy(network.module).eval()
    norms = dict(_list_own_norms(module, network.masks))
    batches = images.split(BATCH_SIZE)  # type: ignore[no-untyped-call]
    with torch.no_grad(), _watching(norms) as read:
        for batch in batches:
            module(batch.to(find_device(module)))
    for name, norm in norms.items():
        if read[name].calls == len(batches):
            _write(norm, *read[name].finish())
    return replace(network, module=module)


def _list_own_norms(module: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[tuple[str, _BatchNorm]]:
    """The norms that hold statistics, a scale and a shift, none of which anything else has."""
    owners = Counter(id(tensor) for _, tensor in module.named_parameters(remove_duplicate=False))
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and part.affine and part.running_mean is not None:
            own = all(owners[id(tensor)] == 1 for tensor in (part.weight, part.bias))
            if own and not {f"{name}.weight", f"{name}.bias"} & set(masks):
                yield name, part


@contextmanager
def _watching(norms: Mapping[str, _BatchNorm]) -> Iterator[Mapping[str, Statistics]]:
    """The statistics of what each norm reads from here on."""
    read = {name: Statistics() for name in norms}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: read[name].add(given[0])

    handles = [norm.register_forward_pre_hook(note(name)) for name, norm in norms.items()]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()


def _write(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Give a norm other statistics, and the scale and shift with which it computes the same; NaN changes nothing."""
    old_mean, old_variance = norm.running_mean, norm.running_var
    if old_mean is None or old_variance is None or not bool(torch.isfinite(variance + mean).all()):
        return
    with torch.no_grad():
        scale, shift, before = norm.weight.double(), norm.bias.double(), old_variance.double() + norm.eps
        mean, variance = mean.to(before), variance.to(before)
        norm.bias.copy_(shift + scale * (mean - old_mean) / before.sqrt())
        norm.weight.copy_(scale * ((variance + norm.eps) / before).sqrt())
        old_mean.copy_(mean)
        old_variance.copy_(variance)

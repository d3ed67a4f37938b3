"""How far a network's outputs are from those of its reference, on images without labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from deploy_prune.train.accelerator import find_device
from deploy_prune.train.layout import choose_layout, count_judged_at_once
from deploy_prune.train.outputs import Outputs, are_class_scores, list_tensors
from deploy_prune.values import Network

CHUNK_NUMBERS = 1 << 22
"""About how many numbers of an output are worked on at once: their copies in float64 take 32 MB each."""

ROUNDING = 1e-12
"""The share of the outputs' square, or of their variance, up to which a difference is what rounding leaves of none."""


class OutputError:
    """The squared error of a network's outputs as a share of the variance of its reference's, batch by batch.

    Class scores are scaled first as fits best: a ridge makes them smaller, and which one is largest does not depend on
    it. Several outputs count the same. A single image has no variance: its error is a share of the outputs' square.
    """

    def __init__(self, classes: int | None) -> None:
        """Begin with no image; `classes` as the reference says them, None: no output has class scores."""
        self._classes = classes
        self._sums: tuple[_Sums, ...] = ()

    def add(self, given: Outputs, wanted: Outputs) -> None:
        """Take in what both returned for some images, the same ones: tensors (images, ...) in any form."""
        pairs = list(zip(_list_floating(given), _list_floating(wanted), strict=True))
        if not self._sums:
            self._sums = tuple(
                _Sums(self._classes is not None and are_class_scores(theirs, self._classes)) for _, theirs in pairs
            )
        for sums, (ours, theirs) in zip(self._sums, pairs, strict=True):
            size = max(1, CHUNK_NUMBERS // max(1, theirs[0].numel()))
            for part in zip(ours.split(size), theirs.split(size), strict=True):  # type: ignore[no-untyped-call]
                sums.add(*(each.detach().cpu().double() for each in part))

    @property
    def value(self) -> float:
        """The error of all images so far, 0 or more; infinite where an output is not finite."""
        errors = [sums.error for sums in self._sums]
        mean = sum(errors) / len(errors)
        return mean if mean < math.inf else math.inf  # NaN is not less


class _Sums:
    """What is left of one output of both networks, g and w: sums over images."""

    def __init__(self, scaled: bool) -> None:
        self._scaled, self._images = scaled, 0
        self._given = self._wanted = torch.zeros(())
        self._squares = self._products = self._wanted_squares = self._difference = 0.0

    def add(self, given: Tensor, wanted: Tensor) -> None:
        self._images += len(wanted)
        self._given, self._wanted = self._given + given.sum(0), self._wanted + wanted.sum(0)
        self._squares += float(given.square().sum())
        self._products += float((given * wanted).sum())
        self._wanted_squares += float(wanted.square().sum())
        self._difference += float((given - wanted).square().sum())

    @property
    def error(self) -> float:
        """|s g - w|^2 / |w|^2, both centred by the mean of w; s is 1, or fits best."""
        mean = self._wanted / self._images if self._images > 1 else torch.zeros_like(self._wanted)
        constant = self._images * float(mean.square().sum())
        along = float((mean * self._wanted).sum())
        across = float((mean * self._given).sum())
        variance = self._wanted_squares - 2 * along + constant
        if variance < ROUNDING * self._wanted_squares:
            variance = 0.0
        error = self._difference
        if self._scaled:
            length = self._squares - 2 * across + constant
            products = self._products - across - along + constant
            error = variance - (products**2 / length if length else 0.0)
        if error <= ROUNDING * variance:
            return 0.0
        return error / variance if variance else error


def measure_output_errors(networks: Mapping[str, Network], reference: Network, images: Tensor) -> dict[str, float]:
    """Measure the squared error of each network's outputs as a share of the variance of the reference's.

    Args:
        networks: in eval mode, by names.
        reference: the network that they should equal, on the same device.
        images: as all take them, (images, channels, height, width).
    """
    errors = {name: OutputError(reference.classes) for name in networks}
    device = find_device(reference.module)
    ask = {name: _open(network.module, images, device) for name, network in networks.items()}
    wanted_of = _open(reference.module, images, device)
    with torch.no_grad():
        for batch in images.split(count_judged_at_once(images.shape[1:], device)):  # type: ignore[no-untyped-call]
            wanted = wanted_of(batch)
            for name, error in errors.items():
                error.add(ask[name](batch), wanted)
    return {name: error.value for name, error in errors.items()}


def _open(module: nn.Module, images: Tensor, device: torch.device) -> Callable[[Tensor], Outputs]:
    """What gives a module's outputs for images, which lie as it takes them fastest."""
    layout = choose_layout(module, images[:1].to(device))
    return lambda batch: module(batch.to(device).contiguous(memory_format=layout))


def _list_floating(outputs: Outputs) -> list[Tensor]:
    return [tensor for tensor in list_tensors(outputs) if tensor.is_floating_point()]

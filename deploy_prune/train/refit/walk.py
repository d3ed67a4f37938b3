"""The refit of a network: every layer behind the first change, front to back, from what those before it give.

W = (Cyx + lambda W0)(Cxx + lambda I)^-1 with what a layer reads in the cut network as it is by then (x) and what it
gives in the reference (y), over sampled positions of a few hundred images without labels. Learnt from He et al. 2017
(arXiv 1707.06168: targets that make up for the stream) and AMC (arXiv 1802.03494); unlike these, every kind of layer is
solved, also where its own input is uncut, and new weights are kept only where they are better on held-out images.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.errors import TraceError
from deploy_prune.graph.surgery import Indices
from deploy_prune.sources.data import normalise
from deploy_prune.train.refit.flat_twins import FlatTwins
from deploy_prune.train.refit.hooked_twins import HookedTwins
from deploy_prune.train.refit.layer import ImageSplit, LayerTask, refit_layer
from deploy_prune.train.refit.norms import measure_statistics
from deploy_prune.train.refit.progress_file import digest, read_layer, write_layer
from deploy_prune.train.refit.settings import Norms, RefitSettings
from deploy_prune.train.refit.twins import RefitLayer, Twins
from deploy_prune.values import ChannelGraph, Data, LayerRefit, Network, Progress, quiet

logger = logging.getLogger(__name__)

LEAST_BATCHES = 5
"""In how many batches images come at least, as far as there are as many images."""


def draw_refit_images(data: Data, settings: RefitSettings) -> Tensor:
    """Draw training images without augmentation, as the network takes them: (images, channels, height, width)."""
    chosen = np.random.default_rng(settings.seed).permutation(len(data.train))[: settings.images]
    return normalise(data.train.read(chosen), data.mean, data.std)


@dataclass(frozen=True, eq=False)
class CutNetwork:
    """A cut network with what it was cut from."""

    small: Network
    """The reference cut to `keep`."""
    reference: Network
    """The uncut network, on the same device."""
    graph: ChannelGraph
    """The reference's channel graph."""
    kept: Indices
    """What is left of the reference: parameter -> axis -> indices that stay, for axes that lost some."""


def refitted(
    cut: CutNetwork,
    images: Tensor,
    *,
    settings: RefitSettings | None = None,
    folder: Path | None = None,
    progress: Progress = quiet,
) -> tuple[Network, tuple[LayerRefit, ...]]:
    """Refit a copy of a cut network, so that its layers give what they gave before.

    Args:
        cut: the cut network and its reference; neither is touched.
        images: as the networks take them, (images, channels, height, width); some of them judge what the others fit.
        settings: what is tried; None: the usual.
        folder: where every finished layer is written, so that a killed refit goes on; None: nowhere.
        progress: told layer by layer.

    Returns:
        The network, and what became of every layer behind the first change, in order.

    Raises:
        RecordError: the folder has layers of another refit, or damaged ones.
    """
    return Refit(cut, images, settings or RefitSettings()).walk(folder=folder, progress=progress)


@dataclass(frozen=True, eq=False)
class Refit:
    """The refit of a cut network on some images, in one way or several: both networks are written down once."""

    cut: CutNetwork
    """The cut network and its reference; neither is touched."""
    images: Tensor
    """What the networks take: (images, channels, height, width)."""
    settings: RefitSettings
    """What is tried."""

    @cached_property
    def split(self) -> ImageSplit | None:
        """Which batches judge what the others fit; None: there are too few images."""
        return self._batches[1]

    @cached_property
    def judging(self) -> Tensor:
        """The images that no weights are fitted to; all, where they are too few to fit any."""
        batches, split = self._batches
        return self.images if split is None else torch.cat([batches[number] for number in split.held_out])

    def walk(
        self, *, norms: Norms | None = None, folder: Path | None = None, progress: Progress = quiet
    ) -> tuple[Network, tuple[LayerRefit, ...]]:
        """Refit every layer behind the first change, front to back.

        Args:
            norms: what norms are given on the way; None: what the settings say.
            folder: where every finished layer is written, so that a killed refit goes on; None: nowhere.
            progress: told layer by layer.

        Raises:
            RecordError: the folder has layers of another refit, or damaged ones.
        """
        small, settings = self.cut.small, replace(self.settings, norms=norms or self.settings.norms)
        if not self._touched:
            return small, ()
        if self.split is None:
            why = f"{len(self.images)} images are too few: some fit, others judge"
            return small, tuple(LayerRefit(_name(each), skipped=why) for each in self._weights if each in self._touched)
        identity = self._identify(settings) if folder is not None else ""
        walk = _Walk(self._twins, small, self._touched, self.split, settings, folder, identity)
        try:
            return _walk(walk, progress)
        finally:
            walk.twins.rewind()  # for the next walk, and to let go of what this one has cached

    @cached_property
    def _batches(self) -> tuple[list[Tensor], ImageSplit | None]:
        return split_images(self.images, self.settings)

    @cached_property
    def _weights(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(layer.weight for layer in self.cut.graph.layers))

    @cached_property
    def _touched(self) -> frozenset[str]:
        return frozenset(name for name in self._weights if name in self.cut.kept or name in self.cut.small.masks)

    @cached_property
    def _twins(self) -> Twins:
        cut, began = self.cut, time.monotonic()
        twins = _open_twins((cut.small, cut.reference), self._weights, cut.kept, self._batches[0])
        logger.debug("both networks were written down in %.1f s", time.monotonic() - began)
        return twins

    def _identify(self, settings: RefitSettings) -> str:
        """All that decides what finished layers are."""
        networks = {**_prefixed("small", self.cut.small.module), **_prefixed("reference", self.cut.reference.module)}
        texts = repr(settings), _write_out(self.cut.kept), type(self._twins).__name__
        return digest({"images": self.images, **networks}, *texts)


@dataclass(frozen=True, eq=False)
class _Walk:
    twins: Twins
    small: Network
    touched: frozenset[str]
    split: ImageSplit
    settings: RefitSettings
    folder: Path | None
    identity: str


def _walk(walk: _Walk, progress: Progress) -> tuple[Network, tuple[LayerRefit, ...]]:
    told = [LayerRefit(_name(weight), skipped=why) for weight, why in walk.twins.left_out.items()]
    changed: dict[str, Tensor] = {}
    start = _named_tensors(walk.small.module)
    layers = list(enumerate(walk.twins.layers))
    first = next((number for number, layer in layers if layer.weight in walk.touched), len(layers))
    for number, layer in layers[first:]:
        path = walk.folder / f"{number:03d}.safetensors" if walk.folder else None
        finished = read_layer(path, walk.identity) if path else None
        if finished is None:
            tensors, mask = {**start, **changed}, walk.small.masks.get(layer.weight)
            read = partial(walk.twins.read, layer)
            before = walk.twins.layers[number - 1] if number > first else None
            renewed = _renew_norms(walk, (before, layer), tensors) if number > first else {}
            tensors |= renewed
            solved = refit_layer(LayerTask(layer, number, read, tensors, mask, walk.split, walk.settings))
            finished = solved[0], {**renewed, **solved[1]}
            if path:
                write_layer(path, walk.identity, finished)
        told.append(finished[0])
        changed |= {name: value.to(start[name].device) for name, value in finished[1].items()}
        progress("refitting", number + 1 - first, len(layers) - first, layer.name)
    if layers[first:]:
        changed |= _renew_norms(walk, (layers[-1][1], None), {**start, **changed})
    return _with_tensors(walk.small, changed), tuple(told)


def _renew_norms(
    walk: _Walk, between: tuple[RefitLayer | None, RefitLayer | None], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The statistics of the norms between two layers, measured anew where that is asked for."""
    renewed: dict[str, Tensor] = {}
    for norm in walk.twins.norms_between(*between) if walk.settings.norms == "measured" else ():
        statistics = measure_statistics(walk.twins.read_norm(norm, {**tensors, **renewed}), walk.split.fitted)
        if all(bool(torch.isfinite(values).all()) for values in statistics):
            renewed |= {name: values.to(tensors[name]) for name, values in zip(norm, statistics, strict=True)}
    return renewed


def split_images(images: Tensor, settings: RefitSettings) -> tuple[list[Tensor], ImageSplit | None]:
    """Cut images into batches of one size, and say which judge; what fills no batch is left out. None: too few."""
    size = max(1, min(settings.batch_size, len(images) // LEAST_BATCHES))
    batches = [images[start : start + size] for start in range(0, len(images) - size + 1, size)]
    if len(batches) < 2:
        return batches, None
    judging = min(len(batches) - 1, max(1, round(settings.held_out * len(batches))))
    numbers = tuple(range(len(batches)))
    return batches, ImageSplit(numbers[:-judging], numbers[-judging:])


def _open_twins(
    networks: tuple[Network, Network], weights: Sequence[str], kept: Indices, batches: Sequence[Tensor]
) -> Twins:
    try:
        return FlatTwins(*networks, weights, kept, batches)
    except TraceError as error:
        logger.info("the refit runs both networks whole for every layer: %s", error)
        return HookedTwins(*networks, weights, kept, batches)


def _write_out(kept: Indices) -> str:
    """All indices as a text, in one order."""
    return repr(sorted((name, axis, indices.tolist()) for name, axes in kept.items() for axis, indices in axes.items()))


def _name(weight: str) -> str:
    return weight.removesuffix(".weight") or weight


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its first name."""
    return {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix} {name}": tensor for name, tensor in _named_tensors(module).items()}


def _with_tensors(network: Network, changed: Mapping[str, Tensor]) -> Network:
    module = copy.deepcopy(network.module)
    tensors = _named_tensors(module)
    with torch.no_grad():
        for name, value in changed.items():
            tensors[name].copy_(value)
    return replace(network, module=module)

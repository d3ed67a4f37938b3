"""What the selection in one layer works on, batch by batch: what its path reads, what it should give, the labels.

Inputs come from the network as it is pruned so far, targets from the reference network on activations of its own
(arXiv 1810.11809, section 3). Both are computed once and kept: a layer's selection then runs nothing but the path from
the layer to its head. What is too large to keep is computed again in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from deploy_prune.errors import ConfigError
from deploy_prune.graph.flat_network import Flat, Path, Tensors
from deploy_prune.sources.data import normalise, read_labelled, require_labels
from deploy_prune.train.batches import draw_stratified
from deploy_prune.train.cached_prefix import CACHE_BYTES, CachedPrefix, count_bytes
from deploy_prune.train.recipe import Batch
from deploy_prune.values import Data


@dataclass(frozen=True, eq=False)
class LayerBatch:
    """One batch as one layer's selection sees it."""

    given: tuple[Tensor, ...]
    """What the path from the layer to its goal reads, from the network as it is pruned so far: (images, channels, ...)
    each, in the order of `Path.part.given`."""
    targets: tuple[Tensor, ...]
    """What the layer gives out in the reference network, for each of its calls: (images, channels, ...)."""
    labels: Tensor
    """int64, shape (images,)."""


Row = tuple[LayerBatch, ...]
"""One batch for every layer of a group."""
Rows = Callable[[], Iterator[Row]]
"""One pass over the selection set."""


def selection_set(data: Data, images: int, batch: int, *, seed: int) -> tuple[Batch, ...]:
    """Draw stratified training images without augmentation, in whole batches of mixed classes.

    Raises:
        ConfigError: they do not fill one batch.
    """
    require_labels(data, data.train, "a selection by discrimination")
    part = draw_stratified(data.train, images, seed=seed)
    if len(part) < batch:
        message = f"the selection set has {len(part)} images, fewer than a batch of {batch}"
        raise ConfigError(message, hint="more images, or a smaller batch_size (--method-option batch_size=32)")
    part = np.random.default_rng(seed).permutation(part)
    chosen = [part[start : start + batch] for start in range(0, len(part) - batch + 1, batch)]
    read = (read_labelled(data.train, each) for each in chosen)
    return tuple(
        Batch(normalise(pixels, data.mean, data.std), torch.from_numpy(labels))
        for pixels, labels in read
        if labels is not None
    )


class SelectionSet:
    """The selection set, with both networks' activations as far as they do not change any more."""

    def __init__(
        self, flat: Flat, batches: Sequence[Batch], reference: Tensors, *, limit_bytes: int = CACHE_BYTES
    ) -> None:
        """Begin at the images.

        Args:
            flat: the network's operators.
            batches: the selection set.
            reference: the weights of the reference network, by name.
            limit_bytes: how much is kept at most: of one group's inputs and targets, and of either network's
                activations that later groups begin with.
        """
        device = next(iter(reference.values())).device
        images = [flat.images(batch.images) for batch in batches]
        self.flat, self._reference, self._limit_bytes = flat, reference, limit_bytes
        self._labels = [batch.target.to(device) for batch in batches]
        self._pruned = CachedPrefix(flat, images, limit_bytes=limit_bytes)
        self._dense = CachedPrefix(flat, images, limit_bytes=limit_bytes)

    def rows(self, paths: Sequence[Path], tensors: Tensors) -> Rows:
        """Prepare passes for the layers of one group; what lies before the first of them must be final.

        So groups come front to back.

        Args:
            paths: the paths of these layers.
            tensors: the weights of the network as it is pruned so far.
        """
        cut = _cut_before(self.flat, paths)
        self._pruned.advance((cut,), tensors)
        self._dense.advance((cut,), self._reference)
        inputs = self._pruned.reader([node for path in paths for node in path.part.given], tensors)
        targets = self._dense.reader([node for path in paths for node in path.part.wanted[:-1]], self._reference)

        def row(number: int) -> Row:
            given, wanted = inputs(number), targets(number)
            return tuple(_piece(path, given, wanted, self._labels[number]) for path in paths)

        count = len(self._labels)
        if _bytes_of(paths) * count > self._limit_bytes:
            return lambda: map(row, range(count))
        kept = [row(number) for number in range(count)]
        return lambda: iter(kept)


def _piece(path: Path, given: dict[Node, Tensor], wanted: dict[Node, Tensor], labels: Tensor) -> LayerBatch:
    calls = path.part.wanted[:-1]
    return LayerBatch(tuple(given[node] for node in path.part.given), tuple(wanted[node] for node in calls), labels)


def _cut_before(flat: Flat, paths: Sequence[Path]) -> Node:
    """The last cut that all these paths' inputs lie behind."""
    first = min(flat.places[node] for path in paths for node in path.part.given)
    return max((cut for cut in flat.cuts if flat.places[cut] <= first), key=lambda cut: flat.places[cut])


def _bytes_of(paths: Sequence[Path]) -> int:
    return sum(map(count_bytes, {node for path in paths for node in (*path.part.given, *path.part.wanted[:-1])}))

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
from deploy_prune.sources.data import normalise
from deploy_prune.sources.images import split_indices
from deploy_prune.train import Batch
from deploy_prune.values import Data

CACHE_BYTES = 2 << 30
"""Of inputs and targets that are kept for one group, and of the activations that later groups begin with."""


@dataclass(frozen=True, eq=False)
class LayerBatch:
    """One batch as one layer's selection sees it."""

    given: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    """The layer's output in the reference network, for each of its calls."""
    labels: Tensor


Row = tuple[LayerBatch, ...]
"""One batch for every layer of a group."""
Rows = Callable[[], Iterator[Row]]
"""One pass over the selection set."""


def selection_set(data: Data, images: int, batch: int, *, seed: int) -> tuple[Batch, ...]:
    """Stratified training images without augmentation, in whole batches of mixed classes.

    Raises:
        ConfigError: they do not fill one batch.
    """
    labels = data.train.labels
    wanted = min(images, len(labels))
    part = (
        np.arange(len(labels))
        if wanted == len(labels)
        else split_indices(labels, (wanted / len(labels),), seed=seed)[0]
    )
    if len(part) < batch:
        message = f"the selection set has {len(part)} images, fewer than a batch of {batch}"
        raise ConfigError(message, hint="more images, or a smaller batch_size (--method-option batch_size=32)")
    part = np.random.default_rng(seed).permutation(part)
    chosen = [part[start : start + batch] for start in range(0, len(part) - batch + 1, batch)]
    return tuple(
        Batch(normalise(data.train.read(each), data.mean, data.std), torch.from_numpy(labels[each])) for each in chosen
    )


class Trunk:
    """A network's activations at a cut that moves to the back as selection does, batch by batch."""

    def __init__(self, flat: Flat, images: Sequence[Tensor]) -> None:
        self._flat, self._at, self._values = flat, flat.image, list(images)

    def advance(self, cut: Node, tensors: Tensors) -> None:
        """Go on to a later cut, unless its activations are too large to keep."""
        too_large = _bytes(cut) * len(self._values) > CACHE_BYTES
        if self._flat.places[cut] > self._flat.places[self._at] and not too_large:
            part = self._flat.part((cut,), (self._at,))
            with torch.no_grad():
                self._values = [part((value,), tensors)[0] for value in self._values]
            self._at = cut

    def reader(self, wanted: Sequence[Node], tensors: Tensors) -> Callable[[int], dict[Node, Tensor]]:
        """(batch number) -> the values of some activations behind the cut."""
        part = self._flat.part(tuple(dict.fromkeys(wanted)), (self._at,))
        values = self._values

        def read(number: int) -> dict[Node, Tensor]:
            with torch.no_grad():
                return dict(zip(part.wanted, part((values[number],) if part.given else (), tensors), strict=True))

        return read


class SelectionSet:
    """The selection set, with both networks' activations as far as they do not change any more."""

    def __init__(self, flat: Flat, batches: Sequence[Batch], reference: Tensors) -> None:
        device = next(iter(reference.values())).device
        images = [flat.images(batch.images) for batch in batches]
        self.flat, self._reference = flat, reference
        self._labels = [batch.labels.to(device) for batch in batches]
        self._pruned, self._dense = Trunk(flat, images), Trunk(flat, images)

    def rows(self, paths: Sequence[Path], tensors: Tensors) -> Rows:
        """For the layers of one group; groups must come front to back, as what lies before the first is then final.

        Args:
            paths: of these layers.
            tensors: the network as it is pruned so far.
        """
        cut = _cut_before(self.flat, paths)
        self._pruned.advance(cut, tensors)
        self._dense.advance(cut, self._reference)
        inputs = self._pruned.reader([node for path in paths for node in path.part.given], tensors)
        targets = self._dense.reader([node for path in paths for node in path.part.wanted[:-1]], self._reference)

        def row(number: int) -> Row:
            given, wanted = inputs(number), targets(number)
            return tuple(_piece(path, given, wanted, self._labels[number]) for path in paths)

        count = len(self._labels)
        if _bytes_of(paths) * count > CACHE_BYTES:
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
    return sum(map(_bytes, {node for path in paths for node in (*path.part.given, *path.part.wanted[:-1])}))


def _bytes(node: Node) -> int:
    value = node.meta.get("val")
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0

"""A network up to a frontier, run once per batch: what lies behind it starts from there, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.fx import Node

from deploy_prune.graph.flat_network import Flat, Tensors

CACHE_BYTES = 2 << 30
"""Bytes of activations that a cached prefix keeps at most, over all batches."""


class CachedPrefix:
    """The activations of a network at a frontier that moves to the back, batch by batch.

    What lies before the frontier must not change any more: a layer is pruned (or refitted) from the front to the back.
    """

    def __init__(self, flat: Flat, images: Sequence[Tensor], *, limit_bytes: int = CACHE_BYTES) -> None:
        """Begin at the images, one tensor (batch, channels, ...) per batch."""
        self._flat, self._limit_bytes = flat, limit_bytes
        self._frontier: tuple[Node, ...] = (flat.image,)
        self._place = flat.places[flat.image]
        self._values: list[tuple[Tensor, ...]] = [(batch,) for batch in images]
        """One tuple per batch with the value of every activation of the frontier, in its order."""

    @property
    def frontier(self) -> tuple[Node, ...]:
        """The activations that are kept."""
        return self._frontier

    def advance(self, frontier: Sequence[Node], tensors: Tensors) -> None:
        """Go on to a later frontier, unless its activations are too large to keep.

        Args:
            frontier: activations through which all that follows depends on the image, such as one of
                `Flat.frontiers` or a single cut.
            tensors: the weights of the network, as they are from here on.
        """
        place = max(self._flat.places[node] for node in frontier)
        too_large = sum(map(count_bytes, frontier)) * len(self._values) > self._limit_bytes
        if place <= self._place or too_large:
            return
        part = self._flat.part(tuple(frontier), self._frontier)
        with torch.no_grad():
            self._values = [part(_pick_read(part.given, self._frontier, values), tensors) for values in self._values]
        self._frontier, self._place = tuple(frontier), place

    def reader(self, wanted: Sequence[Node], tensors: Tensors) -> Callable[[int], dict[Node, Tensor]]:
        """A function from the number of a batch to the values of some activations at the frontier or behind it."""
        part = self._flat.part(tuple(dict.fromkeys(wanted)), self._frontier)
        frontier, batches = self._frontier, self._values

        def read(number: int) -> dict[Node, Tensor]:
            with torch.no_grad():
                values = part(_pick_read(part.given, frontier, batches[number]), tensors)
            return dict(zip(part.wanted, values, strict=True))

        return read


def count_bytes(node: Node) -> int:
    """How large an activation is for one batch, in bytes; 0 for what is no tensor."""
    value = node.meta.get("val")
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0


def _pick_read(given: Sequence[Node], frontier: Sequence[Node], values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Those of the frontier's values that a part reads, in the order in which it takes them."""
    by_node = dict(zip(frontier, values, strict=True))
    return tuple(by_node[node] for node in given)

"""The readers of a network that is written down: every part of it is run once, and streams are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.fx import Node

from deploy_prune.graph.flat_layers import (
    ADDS,
    CallsByWeight,
    find_bias,
    find_norm,
    form_of,
    frontier_before,
    input_of,
    only_user,
)
from deploy_prune.graph.flat_network import flatten
from deploy_prune.scoring.obs.readers import Reader, Seen, find_columns, find_constant
from deploy_prune.train.cached_prefix import CachedPrefix
from deploy_prune.values import ChannelGraph, Network


class FlatReaders:
    """A flat network whose activations are computed part by part."""

    def __init__(self, network: Network, graph: ChannelGraph, batches: Sequence[Tensor]) -> None:
        """Write the network down, and begin at the images, as many in each batch.

        Raises:
            TraceError: torch.export cannot follow the network.
        """
        self._weights = tuple(dict.fromkeys(layer.weight for layer in graph.layers))
        self._flat = flatten(network, self._weights, batch=len(batches[0]))
        self._calls = CallsByWeight(self._flat)
        self.readers = tuple(self._list(graph))
        self._prefix = CachedPrefix(self._flat, [self._flat.images(batch) for batch in batches])

    def watch(self, reader: Reader) -> Callable[[int], Seen]:
        """Go on to this reader."""
        flat, calls = self._flat, self._calls.calls[reader.weight]
        self._prefix.advance(frontier_before(flat, calls[0]), flat.tensors)
        landing = self._find_landing(calls)
        run = self._prefix.reader([*map(input_of, calls), *calls, landing], flat.tensors)

        def see(number: int) -> Seen:
            values = run(number)
            return Seen(tuple((values[input_of(call)], values[call]) for call in calls), values[landing])

        return see

    def _list(self, graph: ChannelGraph) -> list[Reader]:
        flat, readers = self._flat, []
        known = [weight for weight in self._weights if weight in self._calls.calls]
        for weight in sorted(known, key=self._calls.first_place):
            calls, values = self._calls.calls[weight], flat.tensors[weight]
            forms = {form_of(call, values) for call in calls}
            form = next(iter(forms))
            if len(forms) == 1 and form and (columns := find_columns(graph, weight, form, tuple(values.shape))):
                norm = find_norm(flat, calls)
                slope = norm.slope(flat.tensors) if norm else None
                bias, own = find_bias(flat, calls)
                constant = find_constant(bias if own else None, norm)
                readers.append(Reader(weight, values, form, slope, constant, columns))
        return readers

    def _find_landing(self, calls: Sequence[Node]) -> Node:
        """Where what a layer gives arrives: behind its norm and the addition to a stream, where there are these."""
        norm = only_user(calls[0]) if find_norm(self._flat, calls) is not None else None
        landing = calls[0] if norm is None else norm
        add = only_user(landing)
        return add if add is not None and str(add.target) in ADDS and len(calls) == 1 else landing

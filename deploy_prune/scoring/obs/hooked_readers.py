"""The readers of a network that torch.export cannot follow: it is run whole for each of them, with hooks on modules.

Which stream a layer's output is added to is not known here: errors count behind its norm, or where it gives them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import Tensor

from deploy_prune.graph.module_layers import find_module_norms, form_of_module, modules_by_weight, run_watched
from deploy_prune.scoring.obs.readers import Reader, Seen, find_columns, find_constant
from deploy_prune.values import ChannelGraph, Network


class HookedReaders:
    """A network's modules, run whole whenever a reader is watched."""

    def __init__(self, network: Network, graph: ChannelGraph, batches: Sequence[Tensor]) -> None:
        """Run one image, to see which layers are called in which order."""
        self._module, self._batches = copy.deepcopy(network.module).eval(), batches
        weights = tuple(dict.fromkeys(layer.weight for layer in graph.layers))
        self._names, self._norms = modules_by_weight(self._module, weights), find_module_norms(network)
        order = [name for name, _, _ in run_watched(self._module, batches[0][:1], self._names.values())]
        called = [weight for weight, name in self._names.items() if name in order]
        first = sorted(called, key=lambda weight: order.index(self._names[weight]))
        self._called_once = {weight for weight in called if order.count(self._names[weight]) == 1}
        self.readers = tuple(reader for weight in first if (reader := self._describe(weight, graph)))

    def watch(self, reader: Reader) -> Callable[[int], Seen]:
        """Run the network for this reader's sake."""
        name = self._names[reader.weight]
        norm = self._norms[reader.weight].mean.rpartition(".")[0] if reader.slope is not None else name

        def see(number: int) -> Seen:
            calls = run_watched(self._module, self._batches[number], {name, norm})
            landed = next(gave for called, _, gave in calls if called == norm)
            return Seen(tuple((given, gave) for called, given, gave in calls if called == name), landed)

        return see

    def _describe(self, weight: str, graph: ChannelGraph) -> Reader | None:
        part = self._module.get_submodule(self._names[weight])
        assert isinstance(part.weight, Tensor)
        form = form_of_module(part)
        columns = find_columns(graph, weight, form, tuple(part.weight.shape))
        if not columns:
            return None
        tensors = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        norm = self._norms.get(weight) if weight in self._called_once else None
        bias = weight.removesuffix("weight") + "bias"
        constant = find_constant(bias if bias in tensors else None, norm)
        slope = norm.slope(tensors).detach() if norm else None
        return Reader(weight, part.weight.detach(), form, slope, constant, columns)

"""Both networks as flat lists of operators, each run part by part, once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor
from torch.fx import Node

from deploy_prune.graph.flat_layers import (
    CallsByWeight,
    bind_arguments,
    find_bias,
    find_norm,
    find_stream,
    form_of,
    frontier_before,
    input_of,
    list_norms,
)
from deploy_prune.graph.flat_network import Tensors, flatten
from deploy_prune.graph.surgery import Indices
from deploy_prune.train.cached_prefix import CACHE_BYTES, CachedPrefix
from deploy_prune.train.refit.twins import LayerValues, NormNames, RefitLayer, kept_outputs
from deploy_prune.values import Network


class FlatTwins:
    """A cut network and its reference as flat networks, with the activations of both as far as they are final."""

    def __init__(
        self, small: Network, reference: Network, weights: Collection[str], kept: Indices, batches: Sequence[Tensor]
    ) -> None:
        """Write both networks' operators down, and begin at the images.

        Args:
            small: the cut network.
            reference: the network that says what its layers should give.
            weights: the names of all layers' weights.
            kept: parameter -> axis -> indices of the reference that the cut network has.
            batches: images, as many in each: (images, channels, ...).

        Raises:
            TraceError: torch.export cannot follow the network.
        """
        count = len(batches[0])
        self.small, self._reference = (flatten(each, weights, batch=count) for each in (small, reference))
        self._kept = kept
        self._here, self._there = CallsByWeight(self.small), CallsByWeight(self._reference)
        reasons = {weight: self._find_trouble(weight) for weight in weights}
        self.left_out: Mapping[str, str] = {weight: why for weight, why in reasons.items() if why}
        good = sorted((weight for weight in weights if not reasons[weight]), key=self._here.first_place)
        self.layers = tuple(self._describe(weight) for weight in good)
        self._norms = list_norms(self.small)
        self._batches = batches
        self.rewind()

    def rewind(self) -> None:
        """Begin at the images again."""
        self._now, self._before = (
            CachedPrefix(flat, [flat.images(each) for each in self._batches], limit_bytes=CACHE_BYTES // 2)
            for flat in (self.small, self._reference)
        )

    def read(self, layer: RefitLayer, tensors: Tensors) -> Callable[[int], LayerValues]:
        """Go on to this layer in both networks, and prepare to read it there."""
        here, there = self._here.calls[layer.weight], self._there.calls[layer.weight]
        tensors = {**self.small.tensors, **tensors}
        self._now.advance(frontier_before(self.small, here[0]), tensors)
        self._before.advance(frontier_before(self._reference, there[0]), self._reference.tensors)
        streams = self._streams(layer.weight)
        inputs = self._now.reader([*map(input_of, here), *streams[:1]], tensors)
        outputs = self._before.reader([*there, *streams[1:]], self._reference.tensors)
        select = self._selector(layer)

        def values(number: int) -> LayerValues:
            given, wanted = inputs(number), outputs(number)
            pairs = zip(here, there, strict=True)
            calls = tuple((given[input_of(one)], select(wanted[two])) for one, two in pairs)
            lost = select(wanted[streams[1]]) - given[streams[0]] if streams else None
            return LayerValues(calls, lost)

        return values

    def norms_between(self, before: RefitLayer | None, behind: RefitLayer | None) -> Sequence[NormNames]:
        """Name the norms with statistics of their own that are called once, between two layers."""
        first = self._here.first_place(before.weight) if before else -1
        last = self._here.first_place(behind.weight) if behind else len(self.small.nodes)
        return [name for name, node in self._norms.items() if first < self.small.places[node] < last]

    def read_norm(self, norm: NormNames, tensors: Tensors) -> Callable[[int], Tensor]:
        """Prepare to read what a norm reads, from the last layer that was read on."""
        given = bind_arguments(self._norms[norm])["input"]
        reader = self._now.reader([given], {**self.small.tensors, **tensors})
        return lambda number: reader(number)[given]

    def _streams(self, weight: str) -> tuple[Node, ...]:
        """What a layer's output is added to, in the cut network and in the reference; empty: nothing known before."""
        here, there = (
            find_stream(self.small, self._here.calls[weight]),
            find_stream(self._reference, self._there.calls[weight]),
        )
        return (here, there) if here is not None and there is not None else ()

    def _describe(self, weight: str) -> RefitLayer:
        flat, calls = self.small, self._here.calls[weight]
        form, (bias, own) = form_of(calls[0], flat.tensors[weight]), find_bias(flat, calls)
        assert form
        joins = bool(self._streams(weight))
        return RefitLayer(weight, form, len(calls), bias, own, find_norm(flat, calls), joins)

    def _selector(self, layer: RefitLayer) -> Callable[[Tensor], Tensor]:
        """A function that picks the channels that stay of an output of the reference's layer."""
        weight, axis = layer.weight, layer.form.channel_axis
        form = form_of(self._there.calls[weight][0], self._reference.tensors[weight])
        assert form
        shape = tuple(self._reference.tensors[weight].shape)
        channels = kept_outputs(form, shape, self._kept.get(weight, {}))
        if channels is None:
            return lambda value: value
        there = channels.to(self._reference.device)
        return lambda value: value.index_select(axis, there)

    def _find_trouble(self, weight: str) -> str:
        """Why a layer cannot be refitted; empty: it can."""
        here, there = self._here.calls.get(weight, ()), self._there.calls.get(weight, ())
        if not here or not there:
            return "its weight is not used as it is"
        if len(here) != len(there):
            return "the cut network calls it another number of times"
        forms = {form_of(call, self.small.tensors[weight]) for call in here}
        if None in forms or len(forms) > 1:
            return "it is not applied as a layer of one form"
        biases = {bind_arguments(call).get("bias") for call in here}
        if len(biases) > 1 or not biases <= {None, *self.small.constants}:
            return "its bias is computed, or another at every call"
        return ""

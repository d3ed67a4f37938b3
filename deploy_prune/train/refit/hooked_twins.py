"""Both networks as modules with hooks, where torch.export cannot follow them: one forward pass per layer and batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from deploy_prune.graph.flat_layers import LayerForm, NormBehind
from deploy_prune.graph.flat_network import Tensors
from deploy_prune.graph.module_layers import PLAIN, find_module_norms, form_of_module, modules_by_weight, run_watched
from deploy_prune.graph.surgery import Indices
from deploy_prune.train.refit.twins import LayerValues, NormNames, RefitLayer, kept_outputs
from deploy_prune.values import Network


class HookedTwins:
    """A cut network and its reference, run whole whenever a layer is read."""

    def __init__(
        self, small: Network, reference: Network, weights: Collection[str], kept: Indices, batches: Sequence[Tensor]
    ) -> None:
        """Run one batch through the cut network, to see which layers it calls in which order."""
        self._module, self._reference = copy.deepcopy(small.module).eval(), copy.deepcopy(reference.module).eval()
        self._batches, self._kept = batches, kept
        self._modules = modules_by_weight(self._module, weights)
        order = [name for name, _, _ in run_watched(self._module, batches[0][:1], self._modules.values())]
        calls = {weight: order.count(name) for weight, name in self._modules.items()}
        first = {weight: order.index(name) for weight, name in self._modules.items() if calls[weight]}
        self.left_out: Mapping[str, str] = {
            weight: "no module that is known applies its weight" for weight in weights if weight not in first
        }
        norms = find_module_norms(small)
        self.layers = tuple(
            self._describe(weight, calls[weight], norms) for weight in sorted(first, key=lambda each: first[each])
        )

    def read(self, layer: RefitLayer, tensors: Tensors) -> Callable[[int], LayerValues]:
        """Take the tensors over, and prepare to run both networks for this layer's sake."""
        with torch.no_grad():
            for name, tensor in _named_tensors(self._module).items():
                tensor.copy_(tensors[name])
        names = {self._modules[layer.weight]}
        original = self._reference.get_submodule(self._modules[layer.weight])
        form = form_of_module(original)
        assert isinstance(original.weight, Tensor)
        channels = kept_outputs(form, tuple(original.weight.shape), self._kept.get(layer.weight, {}))

        def values(number: int) -> LayerValues:
            here = run_watched(self._module, self._batches[number], names)
            there = run_watched(self._reference, self._batches[number], names)
            calls = zip(here, there, strict=True)
            pairs = ((given, wanted) for (_, given, _), (_, _, wanted) in calls)
            return LayerValues(tuple((given, _select(wanted, form, channels)) for given, wanted in pairs))

        return values

    def rewind(self) -> None:
        """Do nothing: it runs both networks whole from the images every time."""

    def norms_between(self, before: RefitLayer | None, behind: RefitLayer | None) -> Sequence[NormNames]:
        """Name no norm: where modules run whole, none is measured on the way."""
        del self, before, behind
        return ()

    def read_norm(self, norm: NormNames, tensors: Tensors) -> Callable[[int], Tensor]:
        """Refuse: no norm was named."""
        del self, tensors
        raise AssertionError(norm)

    def _describe(self, weight: str, calls: int, norms: Mapping[str, NormBehind]) -> RefitLayer:
        modules = dict(self._module.named_modules())
        prefix = self._modules[weight]
        layer = modules[prefix]
        bias = f"{prefix}.bias".lstrip(".") if layer.bias is not None else None
        shared = [each for each in modules.values() if isinstance(each, PLAIN) and each.bias is layer.bias]
        owns = bias is not None and len(shared) == 1
        return RefitLayer(weight, form_of_module(layer), calls, bias, owns, norms.get(weight) if calls == 1 else None)


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _select(wanted: Tensor, form: LayerForm, channels: Tensor | None) -> Tensor:
    return wanted if channels is None else wanted.index_select(form.channel_axis, channels.to(wanted.device))

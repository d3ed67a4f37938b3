"""Both networks as modules with hooks, where torch.export cannot follow them: one forward pass per layer and batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from deploy_prune.graph.flat_layers import LayerForm, NormBehind
from deploy_prune.graph.flat_network import Tensors
from deploy_prune.graph.norm_scales import trace_flow
from deploy_prune.graph.surgery import Indices
from deploy_prune.train.accelerator import find_device
from deploy_prune.train.refit.twins import LayerValues, NormNames, RefitLayer, kept_outputs
from deploy_prune.values import Network

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Modules that are what their type says; those of a subclass can do anything."""

Call = tuple[str, Tensor, Tensor]
"""The name of a module, what it read and what it gave."""


class HookedTwins:
    """A cut network and its reference, run whole whenever a layer is read."""

    def __init__(
        self, small: Network, reference: Network, weights: Collection[str], kept: Indices, batches: Sequence[Tensor]
    ) -> None:
        """Run one batch through the cut network, to see which layers it calls in which order."""
        self._module, self._reference = copy.deepcopy(small.module).eval(), copy.deepcopy(reference.module).eval()
        self._batches, self._kept = batches, kept
        self._modules = _modules_by_weight(self._module, weights)
        order = [name for name, _, _ in self._run(self._module, batches[0][:1], self._modules)]
        calls = {weight: sum(order.count(name) for name in names) for weight, names in self._modules.items()}
        first = {weight: min(map(order.index, names)) for weight, names in self._modules.items() if calls[weight]}
        self.left_out: Mapping[str, str] = {
            weight: "no module that is known applies its weight" for weight in weights if weight not in first
        }
        norms = _find_norms(small)
        self.layers = tuple(
            self._describe(weight, calls[weight], norms) for weight in sorted(first, key=lambda each: first[each])
        )

    def read(self, layer: RefitLayer, tensors: Tensors) -> Callable[[int], LayerValues]:
        """Take the tensors over, and prepare to run both networks for this layer's sake."""
        with torch.no_grad():
            for name, tensor in _named_tensors(self._module).items():
                tensor.copy_(tensors[name])
        names = {layer.weight: self._modules[layer.weight]}
        original = dict(self._reference.named_modules())[names[layer.weight][0]]
        form = _form_of(original)
        assert isinstance(original.weight, Tensor)
        channels = kept_outputs(form, tuple(original.weight.shape), self._kept.get(layer.weight, {}))

        def values(number: int) -> LayerValues:
            here = self._run(self._module, self._batches[number], names)
            there = self._run(self._reference, self._batches[number], names)
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

    @staticmethod
    def _run(module: nn.Module, images: Tensor, names: Mapping[str, Sequence[str]]) -> list[Call]:
        """Run some images, and note every call of these modules."""
        calls: list[Call] = []
        wanted = {name for each in names.values() for name in each}
        with torch.no_grad(), _watching(module, wanted, calls):
            module(images.to(find_device(module)))
        return calls

    def _describe(self, weight: str, calls: int, norms: Mapping[str, NormBehind]) -> RefitLayer:
        modules = dict(self._module.named_modules())
        layer = modules[self._modules[weight][0]]
        prefix = self._modules[weight][0]
        bias = f"{prefix}.bias".lstrip(".") if layer.bias is not None else None
        shared = [each for each in modules.values() if isinstance(each, PLAIN) and each.bias is layer.bias]
        owns = bias is not None and len(shared) == len(self._modules[weight]) == 1
        return RefitLayer(weight, _form_of(layer), calls, bias, owns, norms.get(weight) if calls == 1 else None)


def _modules_by_weight(module: nn.Module, weights: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The first name of each weight -> the modules that apply it in a known way, all with the same bias or none."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    by_weight: dict[str, list[str]] = {}
    for name, part in module.named_modules():
        known = type(part) in PLAIN and (not isinstance(part, _ConvNd) or part.padding_mode == "zeros")
        if known and first.get(id(part.weight)) in weights:
            by_weight.setdefault(first[id(part.weight)], []).append(name)
    return {weight: tuple(names) for weight, names in by_weight.items() if len(names) == 1}


def _form_of(part: nn.Module) -> LayerForm:
    if not isinstance(part, _ConvNd):
        return LayerForm("linear")
    spans = [step * (size - 1) for step, size in zip(part.dilation, part.kernel_size, strict=True)]
    if part.padding == "same":
        pads = tuple((span // 2, span - span // 2) for span in spans)
    elif part.padding == "valid":
        pads = ((0, 0),) * len(spans)
    else:
        pads = tuple((int(pad), int(pad)) for pad in part.padding)
    kind = "transposed" if part.transposed else "convolution"
    return LayerForm(
        "transposed" if kind == "transposed" else "convolution", part.stride, pads, part.dilation, part.groups
    )


@contextmanager
def _watching(module: nn.Module, names: Collection[str], calls: list[Call]) -> Iterator[None]:
    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(part: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
            del part
            calls.append((name, given[0].clone(), result.clone()))

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in module.named_modules() if name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _find_norms(network: Network) -> dict[str, NormBehind]:
    """Weight of a layer -> the norm that is its alone."""
    modules = dict(network.module.named_modules())
    norms: dict[str, NormBehind] = {}
    for weight, gamma in trace_flow(network.module, network.input_shapes).foldable:
        name = gamma.rpartition(".")[0]
        norm = modules[name]
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            norms[weight] = NormBehind(f"{name}.running_mean", f"{name}.running_var", gamma, norm.eps)
    return norms


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _select(wanted: Tensor, form: LayerForm, channels: Tensor | None) -> Tensor:
    return wanted if channels is None else wanted.index_select(form.channel_axis, channels.to(wanted.device))

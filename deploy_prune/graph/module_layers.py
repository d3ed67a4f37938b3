"""Where a network's modules apply its weights, and what they read and give: for what torch.export cannot follow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from deploy_prune.graph.flat_layers import LayerForm, NormBehind, find_pads
from deploy_prune.graph.norm_scales import trace_flow
from deploy_prune.values import Network

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Modules that are what their type says; those of a subclass can do anything."""

Call = tuple[str, Tensor, Tensor]
"""The name of a module, what it read and what it gave."""


def modules_by_weight(module: nn.Module, weights: Collection[str]) -> dict[str, str]:
    """The first name of each weight -> the only module that applies it, in a known way."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    by_weight: dict[str, list[str]] = {}
    for name, part in module.named_modules():
        known = type(part) in PLAIN and (not isinstance(part, _ConvNd) or part.padding_mode == "zeros")
        if known and first.get(id(part.weight)) in weights:
            by_weight.setdefault(first[id(part.weight)], []).append(name)
    return {weight: names[0] for weight, names in by_weight.items() if len(names) == 1}


def form_of_module(part: nn.Module) -> LayerForm:
    """How one of the modules of `PLAIN` applies its weight."""
    if not isinstance(part, _ConvNd):
        return LayerForm("linear")
    pads = find_pads(part.padding, part.dilation, part.kernel_size)
    if part.transposed:
        return LayerForm("transposed", part.stride, pads, part.dilation, part.groups)
    return LayerForm("convolution", part.stride, pads, part.dilation, part.groups)


def find_module_norms(network: Network) -> dict[str, NormBehind]:
    """Weight of a layer -> the norm that is its alone."""
    modules = dict(network.module.named_modules())
    norms: dict[str, NormBehind] = {}
    for weight, gamma in trace_flow(network.module, network.input_shapes).foldable:
        name = gamma.rpartition(".")[0]
        norm = modules[name]
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            norms[weight] = NormBehind(f"{name}.running_mean", f"{name}.running_var", gamma, norm.eps)
    return norms


def run_watched(module: nn.Module, images: Tensor, names: Collection[str]) -> list[Call]:
    """Run a network, and note every call of the modules of these names, in order."""
    calls: list[Call] = []
    with torch.no_grad(), _watching(module, names, calls):
        module(images.to(next(module.parameters()).device))
    return calls


@contextmanager
def _watching(module: nn.Module, names: Collection[str], calls: list[Call]) -> Iterator[None]:
    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(part: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
            del part
            calls.append((name, given[0].clone(), result.clone()))  # what follows may write into them

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in module.named_modules() if name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

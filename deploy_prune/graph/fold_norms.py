"""Folds batch norms into the convolutions before them: the network computes the same with less to convert and to run.

There are two ways, for two users. An exporter folds a graph that `torch.export` made (`fold_exported_norms`), which
sees every norm however the network calls it. Whoever judges networks folds their modules (`fold_modules`); a search,
which judges thousands of candidates cut from one network, finds the pairs of convolution and norm once
(`find_foldable`), as that takes a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from deploy_prune.graph.norm_scales import trace_flow
from deploy_prune.graph.written_down import BATCH_NORM
from deploy_prune.values import Network

HOOKS = ("_forward_hooks", "_forward_pre_hooks")
TIMM_NORM = ("timm", "BatchNormAct2d")
"""A norm that holds what is dropped after it, and an activation."""
CONVOLUTIONS = frozenset((torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default, torch.ops.aten.conv3d.default))


def find_foldable(network: Network) -> tuple[tuple[str, str], ...]:
    """The names of convolution and norm modules, in pairs, where the norm alone reads what the convolution gives.

    Modules of other classes than torch's (and timm's norm with an activation) do more than is known here, as do those
    with hooks: they stay.
    """
    modules = dict(network.module.named_modules())
    pairs = (
        (weight.removesuffix(".weight"), gamma.removesuffix(".weight"))
        for weight, gamma in trace_flow(network.module, network.input_shapes).foldable
    )
    return tuple((layer, norm) for layer, norm in pairs if _are_known(modules.get(layer), modules.get(norm)))


def _are_known(convolution: nn.Module | None, norm: nn.Module | None) -> bool:
    if type(convolution) is not nn.Conv2d or norm is None or _find_rest(norm) is None:
        return False
    return not any(vars(part)[hooks] for part in (convolution, norm) for hooks in HOOKS)


def _find_rest(norm: nn.Module) -> nn.Module | None:
    """What a norm does after it has normalised; None: that is not known."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    kind = type(norm)
    if (kind.__module__.partition(".")[0], kind.__name__) == TIMM_NORM:
        return nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
    return None


def fold_modules(module: nn.Module, foldable: Sequence[tuple[str, str]]) -> nn.Module:
    """Fold norms into convolutions by the names of their modules; the module itself is changed and returned."""
    for layer, name in foldable:
        convolution, norm = module.get_submodule(layer), module.get_submodule(name)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, _BatchNorm)
        if norm.running_mean is None or norm.running_var is None:
            continue
        convolution.weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.bias = bias
        rest = _find_rest(norm)
        assert rest is not None
        module.set_submodule(name, rest)
    return module


def fold_exported_norms(module: nn.Module, inputs: tuple[Tensor, ...]) -> nn.Module:
    """The same network as a graph, with batch norms folded into the convolutions that they alone read.

    litert-torch takes half the time over a graph without norms, ExecuTorch two thirds. Both fold as well, but
    ExecuTorch (1.5.1) gives a convolution that is called twice the same norm in both places.
    """
    network: Any = torch.export.export(module, inputs).module(check_guards=False)
    for index, norm in enumerate(network.graph.find_nodes(op="call_function", target=BATCH_NORM)):
        convolution = norm.args[0]
        if convolution.target in CONVOLUTIONS and len(convolution.users) == 1:
            _fold_node(network, convolution, norm, name=f"folded_{index}")
    network.graph.eliminate_dead_code()
    return GraphModule(network, network.graph)  # which takes over the constants that are still used


def _fold_node(network: Any, convolution: Any, norm: Any, *, name: str) -> None:
    """Fold one norm of a graph, unless it or the convolution computes what others keep as constants.

    The folded weight is a new one: the convolution may be called elsewhere as well.
    """
    image, weight, *rest = convolution.args
    nodes = (weight, rest[0] if rest else None, *norm.args[3:5], *norm.args[1:3])
    tensors = dict((*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)))
    known: list[Any] = [None if node is None else tensors.get(node.target) for node in nodes]
    if known[2] is None or any(node is not None and tensor is None for node, tensor in zip(nodes, known, strict=True)):
        return
    weight, bias, mean, variance, scale, shift = known
    fused = fuse_conv_bn_weights(weight, bias, mean, variance, norm.args[7], scale, shift)
    with network.graph.inserting_before(convolution):
        for kind, tensor in zip(("weight", "bias"), fused, strict=True):
            network.register_parameter(f"{name}_{kind}", tensor)
        constants = [network.graph.get_attr(f"{name}_{kind}") for kind in ("weight", "bias")]
    convolution.args = (image, *constants, *rest[1:])
    norm.replace_all_uses_with(convolution)
    network.graph.erase_node(norm)

"""A network's operators as torch.export writes them down, none of which writes into what it reads.

`x.relu_()` becomes `relu(x)`, and whatever reads x behind it reads the new tensor. That is right where x is memory of
its own, which only operators that make new tensors have read so far. Where this cannot be told, torch replaces them by
tracing the whole network twice more, which takes as long again as to write it down.
"""

from __future__ import annotations

import copy
import operator
import warnings
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node

from deploy_prune.errors import TraceError
from deploy_prune.values import Network

aten = torch.ops.aten

BATCH_NORM = aten.batch_norm.default
"""How a batch norm is written down, in evaluation mode."""
PLAIN = {
    aten.relu_.default: aten.relu.default, aten.hardtanh_.default: aten.hardtanh.default,
    aten.clamp_.default: aten.clamp.default, aten.leaky_relu_.default: aten.leaky_relu.default,
    aten.elu_.default: aten.elu.default, aten.silu_.default: aten.silu.default, aten.mish_.default: aten.mish.default,
    aten.sigmoid_.default: aten.sigmoid.default, aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.hardswish_.default: aten.hardswish.default, aten.tanh_.default: aten.tanh.default,
    aten.add_.Tensor: aten.add.Tensor, aten.sub_.Tensor: aten.sub.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor, aten.div_.Tensor: aten.div.Tensor,
    aten.add_.Scalar: aten.add.Scalar, aten.mul_.Scalar: aten.mul.Scalar, aten.div_.Scalar: aten.div.Scalar,
}  # fmt: skip
"""Operators that write into their first input -> those that give the same as a new tensor."""
FRESH = frozenset({
    aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding, aten.conv3d.default,
    aten.conv3d.padding, aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input,
    aten.linear.default, aten.matmul.default, aten.bmm.default,
    BATCH_NORM, aten.group_norm.default, aten.layer_norm.default, aten.instance_norm.default,
    aten.cat.default, aten.mean.dim, aten.sum.dim_IntList, aten.gelu.default, aten.prelu.default,
    aten.max_pool2d.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default,
    *PLAIN.values(),
})  # fmt: skip
"""Operators whose result is never memory of what they read (`dropout` and `reshape`, for two, may give it)."""


def write_down(network: Network, image: Tensor) -> GraphModule:
    """Write down a network's operators in evaluation mode, on the CPU wherever it lies: not every accelerator can.

    Args:
        network: the network, which is not touched.
        image: what it is called with, shape (batch, channels, height, width).

    Raises:
        TraceError: torch.export cannot follow the forward pass.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecated calls
            exported = torch.export.export(copy.deepcopy(network.module).cpu().eval(), (image,))
            program: GraphModule = exported.module(check_guards=False)
            if not replace_in_place(program):
                program = exported.run_decompositions({}).module(check_guards=False)
    except Exception as error:  # a user's forward can fail in any way
        text = str(error).strip().split("\n")[0]
        message = f"torch.export cannot follow {network.address}: {type(error).__name__}: {text}"
        raise TraceError(message, hint="dcp, dkp need it: choose another method, such as legr or slimming") from error
    _join_norms(program)
    return program


def replace_in_place(program: GraphModule) -> bool:
    """Replace all operators that write into what they read; False: it cannot be done, and the program is of no use."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    places = {node: place for place, node in enumerate(program.graph.nodes)}
    for node in nodes:
        if not isinstance(node.target, OpOverload):
            if node.target is not operator.getitem:
                return False
        elif node.target is BATCH_NORM and node.args[5]:  # it writes its statistics, which its schema does not say
            return False
        elif node.target._schema.is_mutable:
            written = node.args[0]
            if node.target not in PLAIN or not isinstance(written, Node) or not _can_be_plain(node, written, places):
                return False
            for user in [each for each in written.users if places[each] > places[node]]:
                user.replace_input_with(written, node)
            node.target = PLAIN[node.target]
    return True


def _can_be_plain(node: Node, written: Node, places: dict[Node, int]) -> bool:
    """Whether nothing else looks at the memory that an operator writes into, and whether the type stays as it is."""
    read = [user for user in written.users if places[user] < places[node]]
    values = [each.meta.get("val") for each in (node, *node.all_input_nodes)]
    types = {value.dtype if isinstance(value, Tensor) else None for value in values}
    return len(types) == 1 and all(each.target in FRESH for each in (written, *read))


def _join_norms(program: GraphModule) -> None:
    """Write batch norms in evaluation mode, which torch's own replacement takes apart, as the one operator they are."""
    apart: Any = aten._native_batch_norm_legit_no_training.default
    for norm in program.graph.find_nodes(op="call_function", target=apart):
        picked = list(norm.users)
        if all(each.target is operator.getitem and each.args[1] == 0 for each in picked):
            with program.graph.inserting_before(norm):
                whole = program.graph.call_function(BATCH_NORM, (*norm.args[:5], False, *norm.args[5:7], True))
            for each in picked:
                whole.meta |= each.meta
                each.replace_all_uses_with(whole)
                program.graph.erase_node(each)
            program.graph.erase_node(norm)

"""Has an exported graph compute in fp16, for converters that take the types of its numbers as they are."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate, map_arg

CAST = torch.ops.aten.to.dtype


def halve(graph: GraphModule) -> GraphModule:
    """The same network, its weights and all that it computes in fp16; inputs and outputs keep their types."""
    halved = copy.deepcopy(graph).half()
    for node in list(halved.graph.nodes):
        if node.op == "call_function":
            node.args, node.kwargs = (map_aggregate(each, _narrow) for each in (node.args, node.kwargs))
        elif node.op == "placeholder" and node.meta["val"].is_floating_point():
            with halved.graph.inserting_after(node):
                cast = halved.graph.call_function(CAST, (node, torch.float16))
            node.replace_all_uses_with(cast, delete_user_cb=lambda user, cast=cast: user is not cast)
        elif node.op == "output":
            _widen(halved, node)
    halved.recompile()
    return halved


def _narrow(argument: Any) -> Any:
    return torch.float16 if argument is torch.float32 else argument


def _widen(graph: GraphModule, output: Node) -> None:
    """Cast what is returned back, unless it was no fraction before."""

    def widen(node: Node) -> Node:
        if not node.meta["val"].is_floating_point():
            return node
        with graph.graph.inserting_before(output):
            return graph.graph.call_function(CAST, (node, torch.float32))

    output.args = map_arg(output.args, widen)

"""The first layer in which an exported file parts from its network, found in the file's intermediate results.

Converters fuse: of a convolution, its batch norm and its activation a file may keep the last result alone. So a result
of the network that the file does not have is no fault while something computed from all of it is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from deploy_prune.exporting.converter import shorten_reason
from deploy_prune.processes.silence import silence

OWN_FORWARD = "the network's forward"
INPUT = "the input"
DISTINCT = 4
"""Times the tolerance that a tensor must span: of less, a constant could be an equal."""
BEFORE = frozenset({"pad", "constant_pad_nd", "_unsafe_view", "view", "reshape", "flatten", "permute", "transpose"})
"""Operators that converters make a part of the convolution or product after them."""
BEHIND = frozenset(
    {"batch_norm", "relu", "relu6", "hardtanh", "clamp", "leaky_relu", "prelu", "silu", "hardswish", "hardsigmoid"}
    | {"sigmoid", "gelu", "dropout"}
)
"""Operators that converters make a part of the one before them."""
PARTIAL = frozenset(
    {"getitem", "slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "index", "index_select"}
    | {"mean", "sum", "max", "amax", "max_pool2d", "avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool2d"}
)
"""Operators whose result may be right though what they read is wrong: they read a part of it, or average it out."""


@dataclass(frozen=True)
class Divergence:
    """Where a file and its network part; `layer` and `operator` are empty where no such place was found."""

    layer: str
    """Path of the module, such as "features.3.conv.0.0"."""
    operator: str
    """The name that torch has for it, such as "conv2d"."""
    after: str
    """The last layer before it, in the order of execution, whose result the file has."""
    note: str
    """What else the layer may be fused with in the file; without a layer, why none is named."""

    @property
    def found(self) -> bool:
        """Whether a layer is named."""
        return bool(self.operator)

    def __str__(self) -> str:
        if not self.found:
            return f"no layer is named: {self.note}"
        note = f"; {self.note}" if self.note else ""
        return f"the first layer that differs is {self.layer} ({self.operator}), after {self.after}{note}"


def find_first_divergence(
    module: nn.Module, inputs: tuple[Tensor, ...], layers: Mapping[str, np.ndarray], tolerance: float
) -> Divergence:
    """Run the network operator by operator and look for each result among the file's.

    Args:
        module: eval mode, fp32; it is not changed.
        inputs: of one inference, batch 1, channels first.
        layers: the file's intermediate results and outputs for the same inputs (`Session.layers`), channels first
            or last.
        tolerance: of max |file - network| / max |network|, per result.

    Raises nothing for what it cannot find out: the answer's note says why.
    """
    if not layers:
        return _explain_unnamed("the runtime shows no intermediate results")
    try:
        with silence(), torch.no_grad():
            graph: Any = torch.export.export(module, inputs).module(check_guards=False)
    # torch.export raises anything; that it cannot look into a network must not hide that the file is wrong
    except Exception as error:  # noqa: BLE001
        return _explain_unnamed(f"torch.export cannot look into the network: {shorten_reason(error)}")
    comparison = _Comparison(graph, _Index(layers, tolerance))
    with torch.no_grad():
        comparison.run(*(tensor.clone() for tensor in inputs))
    return _find_first(graph, comparison)


def _explain_unnamed(note: str) -> Divergence:
    return Divergence(layer="", operator="", after="", note=note)


class _Index:
    """The file's results by their count of elements, which no layout changes."""

    def __init__(self, layers: Mapping[str, np.ndarray], tolerance: float) -> None:
        self._tolerance = tolerance
        self._by_count: dict[int, list[tuple[np.ndarray, float, float]]] = defaultdict(list)
        for array in layers.values():
            if array.size and np.issubdtype(array.dtype, np.floating):
                flat = array.astype(np.float32, copy=False).ravel()
                self._by_count[flat.size].append((flat, float(flat.min()), float(flat.max())))

    def holds(self, value: np.ndarray) -> bool:
        """Whether a result of the file is this one, which is finite, as it is or with channels moved last."""
        low, high = float(value.min()), float(value.max())
        limit = self._limit(value)
        near = [
            flat
            for flat, its_low, its_high in self._by_count[value.size]
            if abs(its_low - low) <= limit and abs(its_high - high) <= limit
        ]
        if not near:
            return False
        orders = [value.ravel(), *([np.moveaxis(value, 1, -1).ravel()] if value.ndim > 2 else [])]
        return any(float(np.abs(flat - order).max()) <= limit for flat in near for order in orders)

    def is_distinct(self, value: np.ndarray) -> bool:
        """Whether being equal to it says anything: constants, above all zeros, are equal by chance."""
        return float(value.max()) - float(value.min()) > DISTINCT * self._limit(value)

    def _limit(self, value: np.ndarray) -> float:
        return self._tolerance * float(np.abs(value).max())


class _Comparison(Interpreter):
    """Runs the graph and compares each result at once: an in-place operator may change it right after."""

    def __init__(self, graph: GraphModule, index: _Index) -> None:
        super().__init__(graph)
        self._index = index
        self.seen: set[Node] = set()
        """Nodes whose result the file has."""
        self.same: set[Node] = set()
        """Nodes whose result is a constant that the file has as well. That clears them, but nothing before them."""

    def run_node(self, n: Node) -> Any:
        """One operator."""
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, Tensor) and result.is_floating_point() and result.numel():
            value = result.detach().float().numpy()
            if np.isfinite(value).all() and self._index.holds(value):
                (self.seen if self._index.is_distinct(value) else self.same).add(n)
        return result


def _find_first(graph: GraphModule, comparison: _Comparison) -> Divergence:
    computed = _list_computed(graph)
    agreeing: set[Node] = set()
    for node in reversed(computed):
        if node in comparison.seen or _is_vouched_for(node, agreeing):
            agreeing.add(node)
    # nodes are in the order of execution: the inputs of the first that does not agree all do
    cleared = agreeing | comparison.same
    culprit = next((node for node in computed if node not in cleared), None)
    if culprit is None:
        return _explain_unnamed(
            "with the runtime's delegate and optimisations off every layer agrees on this input; "
            "they, or other inputs, make the difference"
        )
    before = [node for node in computed[: computed.index(culprit)] if node in comparison.seen]
    others = [_name_node(node) for node in _list_fused(culprit, agreeing)]
    return Divergence(
        layer=_name_layer(culprit),
        operator=_name_operator(culprit),
        after=_name_node(before[-1]) if before else INPUT,
        note=f"in the file it may be one with {', '.join(others)}" if others else "",
    )


def _is_vouched_for(node: Node, agreeing: set[Node]) -> bool:
    users = [user for user in node.users if user.op != "output"]
    whole = any(user in agreeing for user in users if _name_operator(user) not in PARTIAL)
    return whole or (bool(users) and all(user in agreeing for user in users))


def _list_computed(graph: GraphModule) -> list[Node]:
    """What is computed from the inputs, in order: what is computed from weights alone, converters compute once."""
    from_inputs: dict[Node, None] = {}
    for node in graph.graph.nodes:
        from_input = any(each.op == "placeholder" or each in from_inputs for each in node.all_input_nodes)
        if node.op == "call_function" and from_input:
            from_inputs[node] = None
    return list(from_inputs)


def _list_fused(first: Node, agreeing: set[Node]) -> list[Node]:
    """The nodes right after the first one that a converter may have fused with it: which of them, no file says."""
    chain = [first]
    while len(chain[-1].users) == 1:
        (user,) = chain[-1].users
        fuses = _name_operator(user) in BEHIND or all(_name_operator(node) in BEFORE for node in chain)
        if user.op == "output" or user in agreeing or not fuses:
            break
        chain.append(user)
    return chain[1:]


def _name_node(node: Node) -> str:
    return f"{_name_layer(node)} ({_name_operator(node)})"


def _name_layer(node: Node) -> str:
    """Path of the module that the operator was called in."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths and paths[-1] else OWN_FORWARD


def _name_operator(node: Node) -> str:
    """Name an operator without name space, overload and the underscore of what works in place."""
    if not isinstance(node.target, torch._ops.OpOverload):  # such as operator.getitem
        return str(getattr(node.target, "__name__", node.name))
    return str(node.target).split(".")[1].removesuffix("_")

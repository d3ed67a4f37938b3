"""Which operators of a graph a delegate took, by the nodes that LiteRT makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy_prune.values import Delegation


@dataclass(frozen=True)
class Node:
    """A node of LiteRT's main graph, by the numbers of its tensors."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def find_delegated(operators: Sequence[Node], delegates: Iterable[Node]) -> frozenset[int]:
    """The operators that delegates stand for.

    LiteRT keeps the operators and appends a node per part that a delegate took. That node's inputs are all that its
    part reads and does not make, so that the part is what lies between its outputs and its inputs.
    """
    makers = {tensor: place for place, node in enumerate(operators) for tensor in node.outputs}
    delegated: set[int] = set()
    for delegate in delegates:
        borders, waiting = set(delegate.inputs), list(delegate.outputs)
        while waiting:
            place = makers.get(waiting.pop())
            if place is not None and place not in delegated:
                delegated.add(place)
                waiting += [tensor for tensor in operators[place].inputs if tensor not in borders]
    return frozenset(delegated)


def count_delegated(nodes: Sequence[Node], operators: int) -> Delegation:
    """Count what delegates took of a graph with so many operators, which come before the delegates' own nodes."""
    taken = find_delegated(nodes[:operators], nodes[operators:])
    return Delegation(len(taken), operators, len(nodes) - operators)

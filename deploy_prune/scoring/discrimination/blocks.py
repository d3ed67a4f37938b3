"""The blocks that a network falls into, after which of them DCP's heads sit, and where its logits are.

The last place where a single tensor is alive before the next layer with weights ends a *block*: a residual block ends
behind its addition, a plain network has a block per layer (arXiv 1810.11809 puts its heads at the ends of blocks).
"""

from __future__ import annotations

from torch.fx import Node

from deploy_prune.errors import ConfigError
from deploy_prune.graph.flat_network import Flat
from deploy_prune.values import Network


def block_ends(flat: Flat) -> tuple[Node, ...]:
    """The tensor at the end of each block, in order; the classifier behind the last one is no block.

    A first segment with a single layer is the stem, and no block either.
    """
    layers = [flat.places[node] for node in flat.layers]
    ends: dict[int, Node] = {}
    for node in flat.cuts:
        passed = sum(place <= flat.places[node] for place in layers)
        if 0 < passed < len(layers):
            ends[passed] = node  # the last one before the next layer
    ends.pop(1, None)
    return tuple(ends.values())


def head_blocks(blocks: int, heads: int) -> tuple[int, ...]:
    """Say after which blocks (counted from 1) so many heads sit: evenly, none after the last block.

    Raises:
        ConfigError: there are too few blocks.
    """
    if heads and blocks < 2:
        message = f"no head can be placed: the network has {blocks or 'no'} block{'s' * (blocks != 1)}"
        raise ConfigError(message, hint="--method-option heads=0 selects by the network's own loss alone")
    if heads >= max(blocks, 1):
        message = f"{heads} heads cannot be placed between {blocks} blocks"
        raise ConfigError(message, hint=f"at most {blocks - 1}: --method-option heads={blocks - 1}")
    step = blocks // (heads + 1) + 1
    return tuple(dict.fromkeys(min(step * number, blocks - 1) for number in range(1, heads + 1)))


def class_logits(flat: Flat, network: Network, classes: int) -> Node:
    """The tensor (batch, classes) that a classifier gives out.

    Raises:
        ConfigError: the network gives out something else, or several tensors.
    """
    shapes = [tuple(node.meta["val"].shape) for node in flat.outputs]
    if shapes != [(flat.batch, classes)]:
        answered = " and ".join("x".join(map(str, shape)) for shape in shapes) or "no tensor"
        message = f"{network.address} is no classifier: it answers {flat.batch} images with {answered}"
        hint = f"a discrimination loss needs ({flat.batch}, {classes}) logits; other methods (legr, magnitude) do not"
        raise ConfigError(message, hint=hint)
    return flat.outputs[0]

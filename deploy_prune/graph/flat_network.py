"""Any network as a flat list of operators, any part of which runs by itself.

torch.export writes the operators down, in evaluation mode and at a fixed batch. Behind each operator lies a *frontier*:
the activations that are still alive there. Where it is a single tensor, the network can be cut in two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node
from torch.fx.node import map_arg

from deploy_prune.graph.written_down import write_down
from deploy_prune.values import Network

Tensors = Mapping[str, Tensor]
"""The name of a parameter, buffer or constant -> its value."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some operators in order, which compute some tensors from given ones."""

    nodes: tuple[Node, ...]
    """The operators, in the order in which they run."""
    given: tuple[Node, ...]
    """The activations that it reads."""
    wanted: tuple[Node, ...]
    """The activations that it gives."""
    constants: Mapping[Node, str]
    """The node of each weight, buffer or constant that it reads -> the name of that."""

    def __call__(self, given: Sequence[Tensor], tensors: Tensors) -> tuple[Tensor, ...]:
        """Compute what is wanted with these weights; each tensor is let go of after its last use."""
        values: dict[Node, Any] = dict(zip(self.given, given, strict=True))
        values |= {node: tensors[name] for node, name in self.constants.items()}
        for node, done in zip(self.nodes, self._last_uses, strict=True):
            values[node] = _run_node(node, values)
            for each in done:
                del values[each]
        return tuple(values[node] for node in self.wanted)

    @cached_property
    def _last_uses(self) -> tuple[tuple[Node, ...], ...]:
        """The activations that nobody reads after an operator, one tuple per operator."""
        last: dict[Node, int] = {}
        for place, node in enumerate(self.nodes):
            last |= dict.fromkeys([node, *node.all_input_nodes], place)
        done: list[list[Node]] = [[] for _ in self.nodes]
        for node, place in last.items():
            if node not in self.wanted and node not in self.constants:
                done[place].append(node)
        return tuple(map(tuple, done))


def _run_node(node: Node, values: Mapping[Node, Any]) -> Any:
    assert callable(node.target)
    return node.target(*map_arg(node.args, values.__getitem__), **map_arg(node.kwargs, values.__getitem__))


@dataclass(frozen=True, eq=False)
class Path:
    """The way from one layer's weight to a goal: all that changes when the weight does."""

    weight: str
    """The name of the layer's weight."""
    part: Part
    """Wants what the layer gives out (at each of its calls), then the goal."""
    first: int
    """The place of the first call among the operators."""

    @property
    def goal(self) -> Node:
        """The activation that it ends at."""
        return self.part.wanted[-1]


@dataclass(frozen=True, eq=False)
class Flat:
    """A network's operators, in order."""

    image: Node
    """What the network is called with: images, shape (batch, channels, height, width)."""
    nodes: tuple[Node, ...]
    """The operators, in the order in which they run."""
    outputs: tuple[Node, ...]
    """The tensors that the network gives out, each once, in order."""
    constants: Mapping[Node, str]
    """The node of each weight, buffer or constant -> its name in `tensors`."""
    tensors: Tensors
    """The values that the network has now."""
    layers: tuple[Node, ...]
    """The operators that apply a layer's weight, in order."""
    batch: int
    """Images per call; a flat network takes no others."""
    layout: torch.memory_format = torch.contiguous_format
    """The memory layout of images with which it is fastest, among those with which it runs."""

    @cached_property
    def places(self) -> Mapping[Node, int]:
        """The place of every operator in `nodes`; the image's is -1."""
        return {self.image: -1} | {node: place for place, node in enumerate(self.nodes)}

    @cached_property
    def moving(self) -> frozenset[Node]:
        """The image, and all that depends on it."""
        return self.after([self.image])

    @cached_property
    def frontiers(self) -> tuple[tuple[Node, ...], ...]:
        """The activations that are alive behind each operator (read later, or given out), operator by operator.

        All that follows depends on the image through these alone.
        """
        last = dict.fromkeys(self.outputs, len(self.nodes))
        for place, node in reversed(list(enumerate(self.nodes))):
            for read in node.all_input_nodes:
                last.setdefault(read, place)
        behind: list[tuple[Node, ...]] = []
        alive: tuple[Node, ...] = (self.image,)
        for place, node in enumerate(self.nodes):
            alive = tuple(each for each in (*alive, *[node] * (node in self.moving)) if last.get(each, -1) > place)
            behind.append(alive)
        return tuple(behind)

    @cached_property
    def cuts(self) -> tuple[Node, ...]:
        """The tensors that are a frontier alone, in order; the image is the first."""
        alone = (alive[0] for alive in self.frontiers if len(alive) == 1)
        return tuple(dict.fromkeys((self.image, *(node for node in alone if isinstance(node.meta.get("val"), Tensor)))))

    @property
    def device(self) -> torch.device:
        """Where its tensors lie, and so where its parts compute."""
        return next(value.device for value in self.tensors.values() if isinstance(value, Tensor))

    def images(self, images: Tensor) -> Tensor:
        """Lay images (batch, channels, height, width) out as its parts take them, on the device they compute on."""
        return images.to(self.device).contiguous(memory_format=self.layout)

    def after(self, nodes: Iterable[Node]) -> frozenset[Node]:
        """These nodes, and all that depends on them."""
        reached = set(nodes)
        for node in self.nodes:
            if any(each in reached for each in node.all_input_nodes):
                reached.add(node)
        return frozenset(reached)

    def part(self, wanted: Sequence[Node], given: Collection[Node]) -> Part:
        """Pick the operators that compute some tensors from given ones."""
        needed: set[Node] = set()
        open_ = list(wanted)
        while open_:
            node = open_.pop()
            if node not in needed and node not in given:
                needed.add(node)
                open_ += node.all_input_nodes
        read = {each for node in needed for each in node.all_input_nodes} | set(wanted)
        return Part(
            nodes=tuple(node for node in self.nodes if node in needed),
            given=tuple(sorted((node for node in given if node in read), key=lambda node: self.places[node])),
            wanted=tuple(wanted),
            constants={node: name for node, name in self.constants.items() if node in needed},
        )

    def path(self, weight: str, goals: Sequence[Node]) -> Path | None:
        """Walk from a weight to the first of the goals that depends on it; None: the network does not use it."""
        moved = self.after(node for node, name in self.constants.items() if name == weight)
        calls = [
            node
            for node in self.nodes
            if node in self.moving and any(each in moved and each not in self.moving for each in node.all_input_nodes)
        ]
        reached = [goal for goal in goals if goal in moved]
        if not calls or not reached:
            return None
        return Path(weight, self.part((*calls, reached[0]), self.moving - moved), self.places[calls[0]])


def flatten(network: Network, weights: Collection[str], *, batch: int) -> Flat:
    """Write a network's operators down.

    Args:
        network: the network, which is not touched.
        weights: names of its layers' weights.
        batch: images per call, from then on.

    Raises:
        TraceError: torch.export cannot follow the forward pass.
    """
    names = _first_names(network)
    weight = next(network.module.parameters())
    image = torch.zeros((batch, *network.input_shape), dtype=weight.dtype)
    program: Any = write_down(network, image)
    _compute_on(program, weight.device)
    held = Interpreter(program)
    constants, tensors = {}, {}
    for node in program.graph.find_nodes(op="get_attr"):
        value = held.fetch_attr(str(node.target))
        constants[node] = names.get(str(node.target), str(node.target))
        tensors[constants[node]] = value.detach().to(weight.device) if isinstance(value, Tensor) else value
    nodes = tuple(node for node in program.graph.nodes if node.op == "call_function")
    (output,) = program.graph.find_nodes(op="output")
    flat = Flat(
        image=next(iter(program.graph.find_nodes(op="placeholder"))),
        nodes=nodes,
        outputs=tuple(node for node in output.all_input_nodes if isinstance(node.meta.get("val"), Tensor)),
        constants=constants,
        tensors=tensors,
        layers=(),
        batch=batch,
    )
    return _with_layout(_with_layers(flat, frozenset(weights)), image)


def _first_names(network: Network) -> dict[str, str]:
    """Every name of a tensor -> its first one, by which the channel graph knows it."""
    first: dict[int, str] = {}
    parameters = network.module.named_parameters(remove_duplicate=False)
    buffers = network.module.named_buffers(remove_duplicate=False)
    return {name: first.setdefault(id(tensor), name) for name, tensor in (*parameters, *buffers)}


def _compute_on(program: Any, device: torch.device) -> None:
    """Let operators that name the device of what they make name this one."""
    for node in program.graph.nodes:
        if "device" in node.kwargs:
            node.update_kwarg("device", device)


def _with_layers(flat: Flat, weights: frozenset[str]) -> Flat:
    still = flat.after(node for node, name in flat.constants.items() if name in weights) - flat.moving
    layers = tuple(
        node for node in flat.nodes if node in flat.moving and any(each in still for each in node.all_input_nodes)
    )
    return dataclasses.replace(flat, layers=layers)


def _with_layout(flat: Flat, image: Tensor) -> Flat:
    """Channels last, unless an operator that was written down for the usual order (a `view`) cannot take it."""
    if image.dim() != 4:
        return flat
    channels_last = dataclasses.replace(flat, layout=torch.channels_last)
    try:
        with torch.no_grad():
            whole = channels_last.part(channels_last.outputs, (channels_last.image,))
            whole((channels_last.images(image),), channels_last.tensors)
    except RuntimeError:
        return flat
    return channels_last

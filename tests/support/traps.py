"""Networks whose forward pass looks at its channels in every way that users write: listed ones, and random chains.

Each part takes activations (images, channels, height, width) and does something to some of the channels, or decides by
how many there are. A cut of such a network must be exact, or what would move is locked with the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from laws import random_keep
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from deploy_prune.graph.law import measure_error, zero_removed
from deploy_prune.graph.soundness import find, lock
from deploy_prune.graph.surgery import cut
from deploy_prune.values import ChannelGraph, Network

SIDE, CLASSES = 8, 5
Part = Callable[[nn.Module, Tensor], Tensor]
"""(The block that it is in, activations) -> activations; the block has a convolution `same` of as many channels."""
Act = Callable[[Tensor], Tensor]
Bounds = Callable[[int], slice]
Width = Callable[[nn.Module, Tensor], bool]

ACTS: dict[str, Act] = {
    "relu": lambda y: y.relu(),
    "sigmoid": lambda y: y.sigmoid(),
    "doubled": lambda y: y * 2,
    "moved": lambda y: y.roll(1, 2),
    "pooled": lambda y: max_pool2d(y, 3, 1, 1),
}
BOUNDS: dict[str, Bounds] = {
    "first four": lambda c: slice(0, 4),
    "all but four": lambda c: slice(4, None),
    "last four": lambda c: slice(-4, None),
    "all but the last four": lambda c: slice(0, -4),
    "some inside": lambda c: slice(2, 6),
    "first half": lambda c: slice(0, c // 2),
    "second half": lambda c: slice(c // 2, None),
    "an eighth": lambda c: slice(0, c // 8),
    "the middle": lambda c: slice(c // 4, 3 * c // 4),
}
CONDITIONS: dict[str, Width] = {
    "more than 12": lambda m, y: y.shape[1] > 12,
    "16 or more": lambda m, y: y.size(1) >= 16,
    "even": lambda m, y: y.shape[1] % 2 == 0,
    "eights": lambda m, y: y.shape[1] % 8 == 0,
    "not 11": lambda m, y: y.shape[1] != 11,
    "elements": lambda m, y: y.numel() > 700 * len(y),
    "of the layer": lambda m, y: m.same.out_channels > 10,  # type: ignore[union-attr, operator]
    "of the weight": lambda m, y: len(m.same.weight) > 7,  # type: ignore[arg-type]
}
CHOICES: dict[str, tuple[Act, Act]] = {
    "relu or nothing": (lambda y: y.relu(), lambda y: y),
    "two activations": (lambda y: y.relu(), lambda y: y.sigmoid()),
    "two pools": (lambda y: max_pool2d(y, 2, ceil_mode=True), lambda y: avg_pool2d(y, 2, ceil_mode=True)),
    "two windows": (lambda y: max_pool2d(y, 2, ceil_mode=True), lambda y: max_pool2d(y, 4, ceil_mode=True)),
    "two shifts": (lambda y: y.roll(1, 2), lambda y: y.roll(2, 2)),
    "two offsets": (lambda y: y + 1, lambda y: y + 2),
}
LOOPS: dict[str, Callable[[int], int]] = {
    "quarters": lambda c: c // 4,
    "what is over 12": lambda c: max(0, c - 12),
    "odd or even": lambda c: 1 + c % 2,
}


def on_slice(act: Act, bounds: Bounds) -> Part:
    def run(m: nn.Module, y: Tensor) -> Tensor:
        start, stop, _ = bounds(y.shape[1]).indices(y.shape[1])
        return torch.cat([y[:, :start], act(y[:, start:stop]), y[:, stop:]], 1)

    return run


def in_place(bounds: Bounds) -> Part:
    def run(m: nn.Module, y: Tensor) -> Tensor:
        y[:, bounds(y.shape[1])].mul_(2)
        return y

    return run


def written(act: Act, bounds: Bounds) -> Part:
    def run(m: nn.Module, y: Tensor) -> Tensor:
        y = y.clone()
        y[:, bounds(y.shape[1])] = act(y[:, bounds(y.shape[1])])
        return y

    return run


def choose(condition: Width, choice: tuple[Act, Act]) -> Part:
    def run(m: nn.Module, y: Tensor) -> Tensor:
        return choice[0](y) if condition(m, y) else choice[1](y)

    return run


def loop(count: Callable[[int], int], *, weighted: bool) -> Part:
    def run(m: nn.Module, y: Tensor) -> Tensor:
        for _ in range(count(y.shape[1])):
            y = m.same(y) * 0.5 if weighted else y.sin()  # type: ignore[operator]
        return y

    return run


def kept_by_training(act: Act) -> Part:
    def run(m: nn.Module, y: Tensor) -> Tensor:
        return y + act(m.same(y)) if m.training else y  # type: ignore[operator]

    return run


SINGLE: dict[str, Part] = {
    "scaled": lambda m, y: y * y.shape[1] ** -0.5,
    "divided": lambda m, y: y / y.shape[1],
    "scaled by a tensor": lambda m, y: y * torch.tensor(y.shape[1] ** -0.5),
    "offset": lambda m, y: y + y.shape[1],
    "clamped": lambda m, y: y.clamp(max=y.shape[1] / 16),
    "chunks": lambda m, y: torch.cat([y.chunk(2, 1)[0].relu(), y.chunk(2, 1)[1]], 1),
    "multiplied halves": lambda m, y: y[:, : y.shape[1] // 2] * y[:, y.shape[1] - y.shape[1] // 2 :],
    "split by four": lambda m, y: torch.cat([each.relu() if n else each for n, each in enumerate(y.split(4, 1))], 1),
    "split unevenly": lambda m, y: torch.cat([y.split([3, y.shape[1] - 3], 1)[0].relu(), y[:, 3:]], 1),
    "split in three": lambda m, y: torch.cat([y.tensor_split(3, 1)[0].relu(), *y.tensor_split(3, 1)[1:]], 1),
    "rolled": lambda m, y: y.roll(2, 1),
    "rolled by a quarter": lambda m, y: y.roll(y.shape[1] // 4, 1),
    "moved by its channels": lambda m, y: y.roll(y.shape[1] // 4, 3),
    "turned round": lambda m, y: y.flip(1).relu(),
    "turned by an index": lambda m, y: y[:, torch.arange(y.shape[1] - 1, -1, -1)],
    "every other": lambda m, y: torch.cat([y[:, ::2].relu(), y[:, 1::2]], 1),
    "shuffled": lambda m, y: y[:, : y.shape[1] // 2 * 2].unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
    "maxout": lambda m, y: y[:, : y.shape[1] // 2 * 2].unflatten(1, (-1, 2)).amax(2),
    "maxout of halves": lambda m, y: y[:, : y.shape[1] // 2 * 2].unflatten(1, (2, -1)).amax(1),
    "weighed halves": lambda m, y: y[:, : y.shape[1] // 2 * 2].unflatten(1, (2, -1)).softmax(1).flatten(1, 2),
    "padded": lambda m, y: pad(y, (0, 0, 0, 0, 1, 2)).relu(),
    "padded by an eighth": lambda m, y: pad(y, (0, 0, 0, 0, 0, y.shape[1] // 8)),
    "padded at the sides": lambda m, y: pad(y, (y.shape[1] // 8, 0)),
    "cropped at the sides": lambda m, y: y[:, :, y.shape[1] // 8 :],
    "resized": lambda m, y: nn.functional.interpolate(y, size=(y.shape[1] // 2 + 1, 4)),
    "in a view": lambda m, y: y.reshape(len(y), 1, -1, *y.shape[2:]).relu().flatten(1, 2),
    "gated by one": lambda m, y: y * y[:, :1].sigmoid(),
    "gated by the mean": lambda m, y: y * y.mean(1, keepdim=True).sigmoid(),
    "gated by the sum": lambda m, y: y * y.relu().sum(1, keepdim=True).sigmoid(),
    "gated by the largest": lambda m, y: y * y.amax(1, keepdim=True).sigmoid(),
    "softmax": lambda m, y: y.softmax(1),
    "unit length": lambda m, y: y / (1 + y.norm(dim=1, keepdim=True)),
    "added halves": lambda m, y: y[:, : y.shape[1] // 2] + y[:, y.shape[1] - y.shape[1] // 2 :],
    "a residual": lambda m, y: y + m.same(y),  # type: ignore[operator]
    "a gate": lambda m, y: y * m.same(y.mean((2, 3), keepdim=True)).sigmoid(),  # type: ignore[operator]
    "counted": lambda m, y: y * torch.arange(y.shape[1]).view(1, -1, 1, 1),
}


def list_parts() -> dict[str, Part]:
    """Every part by its name: more than 150."""
    parts: dict[str, Part] = {}
    for name, act in ACTS.items():
        parts |= {f"{name} on {where}": on_slice(act, bounds) for where, bounds in BOUNDS.items()}
        parts[f"{name} in training"] = kept_by_training(act)
    for where, bounds in BOUNDS.items():
        parts[f"in place on {where}"] = in_place(bounds)
        parts[f"written to {where}"] = written(ACTS["relu"], bounds)
    for condition, is_so in CONDITIONS.items():
        parts |= {f"{name} if {condition}": choose(is_so, choice) for name, choice in CHOICES.items()}
    for name, count in LOOPS.items():
        parts[f"loop over {name}, layers"] = loop(count, weighted=True)
        parts[f"loop over {name}, functions"] = loop(count, weighted=False)
    return parts | SINGLE


PARTS = list_parts()


@dataclass
class Out:
    """An output that no tree walk opens."""

    logits: Tensor
    name: str = "logits"


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda z: z,
    "tuple": lambda z: (z, 1),
    "dictionary": lambda z: {"scores": z},
    "dataclass": Out,
    "namespace": lambda z: SimpleNamespace(x=[z]),
    "nested": lambda z: [{"a": Out(z)}],
}


class Block(nn.Module):
    """A convolution, a part, and a convolution of as many channels that the part may use."""

    def __init__(self, inputs: int, width: int, part: Part) -> None:
        super().__init__()
        self.make, self.same, self.part = _conv(inputs, width), _conv(width, width), part

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self, self.make(x))


class Trapped(nn.Module):
    """Blocks one after the other, a convolution, a pool and a linear layer."""

    def __init__(self, blocks: list[tuple[str, int]], output: str) -> None:
        super().__init__()
        self.blocks, inputs = nn.ModuleList(), 3
        for name, width in blocks:
            block = Block(inputs, width, PARTS[name]).eval()
            with torch.no_grad():
                inputs = block(torch.zeros(1, inputs, SIDE, SIDE)).shape[1]
            self.blocks.append(block)
        self.last, self.head, self.output = _conv(inputs, 6), nn.Linear(6, CLASSES), OUTPUTS[output]

    def forward(self, x: Tensor) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.output(self.head(self.last(x).mean((2, 3))))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def build_trap(blocks: list[tuple[str, int]], output: str = "tensor") -> Network:
    """A network of these parts, each behind a convolution of this many channels."""
    name = ", ".join(f"{part} ({width})" for part, width in blocks)
    return Network(f"{name} -> {output}", Trapped(blocks, output).eval(), ((3, SIDE, SIDE),), CLASSES)


def draw_trap(number: int) -> Network:
    """A random chain of one to three parts; the same for the same number."""
    draw = np.random.default_rng(number)
    names = draw.choice(sorted(PARTS), int(draw.integers(1, 4)))
    torch.manual_seed(number)
    return build_trap([(str(name), int(draw.integers(8, 21))) for name in names], str(draw.choice(sorted(OUTPUTS))))


def runs(network: Network) -> bool:
    """Whether its parts leave enough of the image for one another: a pool may leave less than a kernel."""
    try:
        with torch.no_grad():
            network.module(torch.zeros(1, *network.input_shape))
    except RuntimeError:
        return False
    return True


def cut_as_a_run_does(network: Network, graph: ChannelGraph, seed: int) -> tuple[ChannelGraph, float | None]:
    """Keep random units of every group, check the plan as a run does, cut, and hold the result against the law.

    Returned are the graph with what the check has locked, and the relative error (None: its answers are not finite).
    """
    keep = random_keep(graph, seed)
    while broken := find(network, graph, keep):
        graph = lock(graph, broken)
        keep = {name: units for name, units in keep.items() if name not in broken}
    return graph, measure_error(zero_removed(network, graph, keep), cut(network, graph, keep))


def list_lines(part: Part) -> frozenset[str]:
    """`file:line` of every line of a part and of the functions that it was made of, as locks name them."""
    return frozenset(_walk(part))


def _walk(value: object) -> Iterator[str]:
    if isinstance(value, tuple):
        for each in value:
            yield from _walk(each)
    code = getattr(value, "__code__", None)
    if isinstance(code, CodeType):
        folders = code.co_filename.split("/")[-2:]
        yield from (f"{'/'.join(folders)}:{line}" for _, _, line in code.co_lines() if line)
        for cell in getattr(value, "__closure__", None) or ():
            yield from _walk(cell.cell_contents)

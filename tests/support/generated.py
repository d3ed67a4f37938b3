"""Random networks for property tests: a chain of blocks of every kind, with random widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.values import Network

CLASSES, SIDE = 3, 4


@dataclass(frozen=True)
class Block:
    """A kind of block and how many channels it gives; `width` counts pairs where the kind needs an even number."""

    kind: str
    width: int


class Built(nn.Module):
    """Blocks one after the other, then pooling (or flattening) and a linear layer."""

    def __init__(self, blocks: list[Block], flatten: bool) -> None:
        super().__init__()
        width = 3
        parts: list[nn.Module] = []
        for block in blocks:
            part, width = KINDS[block.kind](width, block.width)
            parts.append(part)
        self.parts = nn.ModuleList(parts)
        self.flatten = flatten
        self.head = nn.Linear(width * SIDE * SIDE if flatten else width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return self.head(x.flatten(1) if self.flatten else x.mean((2, 3)))


class Lambda(nn.Module):
    """Layers by name and how to run them."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _conv(inputs: int, outputs: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def _normed(inputs: int, width: int) -> tuple[nn.Module, int]:
    return nn.Sequential(_conv(inputs, width, bias=False), nn.BatchNorm2d(width), nn.ReLU6()), width


def _grouped(inputs: int, width: int) -> tuple[nn.Module, int]:
    return nn.Sequential(_conv(inputs, 2 * width), nn.SiLU(), _conv(2 * width, 2 * width, groups=2)), 2 * width


def _many_groups(inputs: int, width: int) -> tuple[nn.Module, int]:
    outputs = 3 * width
    return nn.Sequential(_conv(inputs, 2 * width), _conv(2 * width, outputs, groups=width), nn.Hardswish()), outputs


def _depthwise(inputs: int, width: int) -> tuple[nn.Module, int]:
    layers = (_conv(inputs, inputs, groups=inputs), nn.BatchNorm2d(inputs), nn.PReLU(inputs), _conv(inputs, width))
    return nn.Sequential(*layers), width


def _residual(inputs: int, width: int) -> tuple[nn.Module, int]:
    return Lambda(lambda m, x: x + m.b(m.a(x).relu()), a=_conv(inputs, width), b=_conv(width, inputs)), inputs


def _concat(inputs: int, width: int) -> tuple[nn.Module, int]:
    both = Lambda(lambda m, x: torch.cat([m.a(x), m.b(x), x], 1), a=_conv(inputs, width), b=_conv(inputs, 2))
    return both, width + 2 + inputs


def _squeeze_excite(inputs: int, width: int) -> tuple[nn.Module, int]:
    down, up = nn.Conv2d(inputs, width, 1), nn.Conv2d(width, inputs, 1)
    gated = Lambda(lambda m, x: x * m.up(m.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid(), down=down, up=up)
    return gated, inputs


def _spatial_gate(inputs: int, width: int) -> tuple[nn.Module, int]:
    return Lambda(lambda m, x: m.a(x) * m.g(x).sigmoid(), a=_conv(inputs, width), g=_conv(inputs, 1)), width


def _chunk(inputs: int, width: int) -> tuple[nn.Module, int]:
    def run(m: Any, x: Tensor) -> Tensor:
        one, two = m.a(x).chunk(2, 1)
        return one * two.sigmoid()

    return Lambda(run, a=_conv(inputs, 2 * width)), width


def _shuffle(inputs: int, width: int) -> tuple[nn.Module, int]:
    def run(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    return Lambda(run, a=_conv(inputs, 2 * width)), 2 * width


def _transposed(inputs: int, width: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.ConvTranspose2d(inputs, width, 2, stride=2), nn.MaxPool2d(2)), width


def _pixel_shuffle(inputs: int, width: int) -> tuple[nn.Module, int]:
    return nn.Sequential(_conv(inputs, 4 * width), nn.PixelShuffle(2), nn.AvgPool2d(2)), width


def _pools(inputs: int, width: int) -> tuple[nn.Module, int]:
    def run(m: Any, x: Tensor) -> Tensor:
        return functional.interpolate(functional.max_pool2d(m.a(x), 2), scale_factor=2.0)

    return Lambda(run, a=_conv(inputs, width)), width


def _channels_last(inputs: int, width: int) -> tuple[nn.Module, int]:
    mixed = Lambda(lambda m, x: m.l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), l=nn.Linear(inputs, width))
    return mixed, width


def _in_place(inputs: int, width: int) -> tuple[nn.Module, int]:
    def run(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        y += m.b(x)
        return y.mul_(2).clamp_(-3, 3)

    return Lambda(run, a=_conv(inputs, width), b=_conv(inputs, width)), width


def _twice(inputs: int, width: int) -> tuple[nn.Module, int]:
    return Lambda(lambda m, x: m.b(m.b(m.a(x)).relu()), a=_conv(inputs, width), b=_conv(width, width)), width


KINDS: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "normed": _normed, "grouped": _grouped, "many groups": _many_groups, "depthwise": _depthwise,
    "residual": _residual, "concat": _concat, "squeeze-excite": _squeeze_excite, "spatial gate": _spatial_gate,
    "chunk": _chunk, "shuffle": _shuffle, "transposed": _transposed, "pixel shuffle": _pixel_shuffle,
    "pools": _pools, "channels last": _channels_last, "in place": _in_place, "twice": _twice,
}  # fmt: skip


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A network of one to five blocks on a 3x4x4 input, in eval mode."""
    blocks = draw(st.lists(st.builds(Block, st.sampled_from(sorted(KINDS)), st.integers(1, 6)), min_size=1, max_size=5))
    flatten = draw(st.booleans())
    torch.manual_seed(0)
    return Network(f"tests:{blocks}", Built(blocks, flatten).eval(), ((3, SIDE, SIDE),), CLASSES)

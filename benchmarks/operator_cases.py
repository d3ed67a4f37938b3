"""Small networks, each of one operator between a convolution and a head: what `benchmarks.operators` exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, unfold

CHANNELS, SIZE = 8, 12
Middle = Callable[[Tensor], Tensor]


class Around(nn.Module):
    """A convolution to (1, 8, 12, 12), the operator, and a head of 5 numbers over whatever it gives."""

    def __init__(self, middle: nn.Module | Middle) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.middle = middle if isinstance(middle, nn.Module) else Called(middle)
        with torch.no_grad():
            shape = self.middle(torch.rand(1, CHANNELS, SIZE, SIZE)).shape
        self.head = nn.Linear(shape[1], 5)

    def forward(self, x: Tensor) -> Tensor:
        """(1, 3, 12, 12) -> (1, 5)."""
        y = self.middle(self.first(x))
        return self.head(y.flatten(2).mean(2) if y.ndim > 2 else y)  # type: ignore[no-any-return]


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function: Middle) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Whatever the function says."""
        return self.function(x)


class Weighted(nn.Module):
    """A weight per channel, expanded to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """Each channel times its weight."""
        return self.weight[None, :, None, None].expand_as(x) * x


class Attention(nn.Module):
    """Pixels that look at one another, in two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(1, 8, h, w) -> the same."""
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2)  # type: ignore[no-any-return]


def volume(x: Tensor) -> Tensor:
    """(1, 8, 12, 12) -> (1, 8, 4, 3, 12): an image as a volume."""
    return x.reshape(len(x), CHANNELS, 4, 3, SIZE)


def transposed(size: int, stride: int, padding: int, **options: Any) -> nn.Module:
    """A transposed convolution of 8 channels."""
    return nn.ConvTranspose2d(CHANNELS, CHANNELS, size, stride, padding, **options)


def resize(size: tuple[int, int] | None = None, mode: str = "nearest", **options: Any) -> Middle:
    """Another size of the image."""
    return lambda x: interpolate(x, size=size, mode=mode, **options)


TRANSPOSED: dict[str, Callable[[], nn.Module | Middle]] = {
    "transposed, padding 1": lambda: transposed(3, 2, 1),
    "transposed, output padding 1": lambda: transposed(3, 2, 1, output_padding=1),
    "transposed, depthwise, padding 1": lambda: transposed(4, 2, 1, groups=CHANNELS),
    "transposed, dilation 2, padding 1": lambda: transposed(3, 2, 1, dilation=2),
    "transposed, one dimension": lambda: nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(CHANNELS, 8, 3, 2, 1, 1)),
    "transposed, three dimensions": lambda: nn.Sequential(
        Called(volume), nn.ConvTranspose3d(CHANNELS, 8, 3, 2, 1, 1)
    ),
}  # fmt: skip
RESIZING: dict[str, Callable[[], nn.Module | Middle]] = {
    "nearest to 11 x 15": lambda: resize((11, 15)),
    "nearest-exact to 11 x 15": lambda: resize((11, 15), "nearest-exact"),
    "bilinear to 11 x 15": lambda: resize((11, 15), "bilinear"),
    "bilinear to 17 x 23, corners aligned": lambda: resize((17, 23), "bilinear", align_corners=True),
    "adaptive average pooling to 5 x 7": lambda: nn.AdaptiveAvgPool2d((5, 7)),
}  # fmt: skip
POOLING: dict[str, Callable[[], nn.Module | Middle]] = {
    "average, ceil": lambda: nn.AvgPool2d(2, 3, ceil_mode=True),
    "average, ceil, padding 1": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average, divisor 5": lambda: nn.AvgPool2d(3, 2, divisor_override=5),
    "average, three dimensions, ceil": lambda: nn.Sequential(Called(volume), nn.AvgPool3d(2, 3, ceil_mode=True)),
    "max, ceil, padding 1": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max, padding 1, dilation 2": lambda: nn.MaxPool2d(3, 2, 1, dilation=2),
}  # fmt: skip
REDUCING: dict[str, Callable[[], nn.Module | Middle]] = {
    "max over channels with indices": lambda: lambda x: x * x.max(1, keepdim=True)[0].sigmoid(),
    "max over rows with indices": lambda: lambda x: x.max(2)[0],
    "max of all": lambda: lambda x: x * x.max(),
    "standard deviation": lambda: lambda x: x.std((2, 3)),
    "median": lambda: lambda x: x.median(2)[0],
}  # fmt: skip
MOVING: dict[str, Callable[[], nn.Module | Middle]] = {
    "expand_as": Weighted,
    "crop by negative padding": lambda: lambda x: pad(x, (-1, -2, -1, 0)),
    "circular padding": lambda: lambda x: pad(x, (2, 2, 1, 1), mode="circular"),
    "roll": lambda: lambda x: x.roll((1, -2), (2, 3)),
    "unfold": lambda: lambda x: unfold(x, 3, padding=1),
    "gather": lambda: lambda x: x.gather(3, x.argsort(3)) * torch.arange(SIZE),
}  # fmt: skip
ELEMENTS: dict[str, Callable[[], nn.Module | Middle]] = {
    "power of a volume": lambda: lambda x: volume(x).sigmoid().pow(1.5),
    "mish": nn.Mish,
    "remainder": lambda: lambda x: x.remainder(0.7) + torch.fmod(x, 0.3),
}  # fmt: skip
NORMS_AND_PRODUCTS: dict[str, Callable[[], nn.Module | Middle]] = {
    "group norm": lambda: nn.GroupNorm(2, CHANNELS),
    "attention": Attention,
    "einsum": lambda: lambda x: torch.einsum("bchw,bdhw->bcd", x, x.softmax(1)),
    "convolution of three dimensions": lambda: nn.Sequential(Called(volume), nn.Conv3d(CHANNELS, 8, 3, padding=1)),
}  # fmt: skip
CASES: dict[str, Callable[[], nn.Module | Middle]] = {
    **TRANSPOSED, **RESIZING, **POOLING, **REDUCING, **MOVING, **ELEMENTS, **NORMS_AND_PRODUCTS,
}  # fmt: skip

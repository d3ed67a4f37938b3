"""MobileNetV1 of any width, for ImageNet's sizes or for 32x32 images: `mobilenet_v1`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from deploy_prune.errors import ConfigError
from deploy_prune.sources.architectures.mobilenet_v1 import MobileNetV1
from deploy_prune.sources.models import ModelSource
from deploy_prune.sources.networks import own_architecture
from deploy_prune.values import Network

# stem -> (stride of the stem, usual classes, usual side)
STEMS = {"imagenet": (2, 1000, 224), "cifar": (1, 10, 32)}


@dataclass(frozen=True)
class MobileNetV1Source:
    """The straight line of depthwise-separable convolutions."""

    width: float = 1.0
    """Multiplies every channel count (then rounded to a multiple of 8)."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar` keeps the resolution of small images in the first convolution."""

    def __post_init__(self) -> None:
        if self.width <= 0 or self.stem not in STEMS:
            raise ConfigError(f"mobilenet_v1 has no width {self.width} with stem '{self.stem}'", hint=_HINT)

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        stride, *usual = STEMS[self.stem]

        def make(classes: int, channels: int) -> nn.Module:
            return MobileNetV1(classes, width=self.width, stem_stride=stride, input_channels=channels)

        usual_classes, side = usual
        return own_architecture(
            "mobilenet_v1", rest, make, classes=classes, input_shape=input_shape, usual=(usual_classes, side)
        )


_HINT = f"width is a positive number; stem is one of {', '.join(STEMS)}"

plugin: type[ModelSource] = MobileNetV1Source

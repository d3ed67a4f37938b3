"""MobileNetV2 of any width and depth, in torchvision's own class: `mobilenet_v2` (the demo's network is `small`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torchvision.models import MobileNetV2

from deploy_prune.errors import ConfigError
from deploy_prune.sources.architectures.stem import set_stem_stride
from deploy_prune.sources.models import ModelSource
from deploy_prune.sources.networks import own_architecture
from deploy_prune.values import Network

# stem -> (stride of the stem, usual classes, usual side)
STEMS = {"imagenet": (2, 1000, 224), "cifar": (1, 10, 32)}

# Rows of the paper's table 2 (arXiv 1801.04381): expansion, channels, blocks, stride of the first block.
SETTINGS: dict[str, list[list[int]] | None] = {
    "full": None,  # torchvision's own, the paper's
    # Multiples of 16 all over, so that a plan in multiples of 16 finds something to cut in every group.
    "small": [[1, 16, 1, 1], [6, 32, 2, 2], [6, 64, 2, 2], [6, 96, 1, 1]],
}


@dataclass(frozen=True)
class MobileNetV2Source:
    """Inverted residuals."""

    width: float = 1.0
    """Multiplies every channel count."""
    stem: Literal["imagenet", "cifar"] = "imagenet"
    """`cifar` keeps the resolution of small images in the first convolution."""
    setting: Literal["full", "small"] = "full"
    """`small`: six blocks in multiples of 16, for digits and the like."""

    def __post_init__(self) -> None:
        if self.width <= 0 or self.stem not in STEMS or self.setting not in SETTINGS:
            message = f"mobilenet_v2 has no width {self.width} with stem '{self.stem}' and setting '{self.setting}'"
            raise ConfigError(message, hint=_HINT)

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        _, usual_classes, side = STEMS[self.stem]
        if input_shape is not None and input_shape[0] != 3:
            message = f"mobilenet_v2 takes images of 3 channels, not {input_shape[0]}"
            raise ConfigError(message, hint=f"write 3,{input_shape[1]},{input_shape[2]}")
        return own_architecture(
            "mobilenet_v2", rest, self._make, classes=classes, input_shape=input_shape, usual=(usual_classes, side)
        )

    def _make(self, classes: int, _channels: int) -> nn.Module:
        module: nn.Module = MobileNetV2(
            num_classes=classes,
            width_mult=self.width,
            inverted_residual_setting=SETTINGS[self.setting],
            round_nearest=8 if self.setting == "full" else 16,
        )
        set_stem_stride(module, STEMS[self.stem][0])
        return module


_HINT = f"width is a positive number; stem is one of {', '.join(STEMS)}; setting one of {', '.join(SETTINGS)}"

plugin: type[ModelSource] = MobileNetV2Source

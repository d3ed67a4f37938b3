"""MobileNetV1 (Howard et al. 2017, arXiv 1704.04861, table 1), of any width."""

from __future__ import annotations

import torch
from torch import nn

# (output channels at width 1, stride of the depthwise convolution)
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
STEM_CHANNELS = 32


class MobileNetV1(nn.Module):
    """Depthwise-separable convolutions in one straight line: (batch, channels, height, width) -> (batch, classes)."""

    def __init__(self, classes: int, *, width: float = 1.0, stem_stride: int = 2, input_channels: int = 3) -> None:
        super().__init__()
        channels = _scale(STEM_CHANNELS, width)
        self.stem = _make_conv_norm_relu(input_channels, channels, kernel=3, stride=stem_stride)
        blocks = []
        for full, stride in BLOCKS:
            wider = _scale(full, width)
            depthwise = _make_conv_norm_relu(channels, channels, kernel=3, stride=stride, groups=channels)
            blocks.append(nn.Sequential(depthwise, _make_conv_norm_relu(channels, wider, kernel=1)))
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        features = self.pool(self.blocks(self.stem(images)))
        logits: torch.Tensor = self.classifier(torch.flatten(features, 1))
        return logits


def _scale(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)  # multiples of 8, as the published checkpoints


def _make_conv_norm_relu(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )

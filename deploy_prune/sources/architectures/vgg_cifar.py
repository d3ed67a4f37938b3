"""VGG-16 with batch norm for 32x32 images (Simonyan and Zisserman 2014, arXiv 1409.1556, column D, one classifier)."""

from __future__ import annotations

import torch
from torch import nn

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""The widths of the convolutions at each resolution; a max-pool follows each resolution."""


class VggCifar(nn.Module):
    """Thirteen 3x3 convolutions and a linear layer: (batch, channels, height, width) -> (batch, classes)."""

    def __init__(self, classes: int, *, input_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = input_channels
        for stage in CHANNELS:
            for outputs in stage:
                layers += _make_conv_norm_relu(inputs, outputs)
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(self.features(images)), 1))
        return logits


def _make_conv_norm_relu(inputs: int, outputs: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

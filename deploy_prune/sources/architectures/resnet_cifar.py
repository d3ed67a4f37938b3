"""ResNet for 32x32 images (He et al. 2015, arXiv 1512.03385, section 4.2) with the option-A shortcut.

Parameter names are those of the public `pytorch_resnet_cifar10` project, so that its checkpoints load.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

STAGES = ((16, 1), (32, 2), (64, 2))


class ResNetCifar(nn.Module):
    """6 x `blocks` + 2 layers: (batch, channels, height, width) -> (batch, classes)."""

    def __init__(self, classes: int, *, blocks: int, input_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, STAGES[0][0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGES[0][0])
        self.layer1 = _make_stage(STAGES[0][0], *STAGES[0], blocks)
        self.layer2 = _make_stage(STAGES[0][0], *STAGES[1], blocks)
        self.layer3 = _make_stage(STAGES[1][0], *STAGES[2], blocks)
        self.linear = nn.Linear(STAGES[2][0], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: torch.Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


class PadShortcut(nn.Module):
    """Option A: subsample, and pad channels with zeros on both sides; no parameters.

    Which input channel each output channel shows is a buffer, so that surgery can rewrite it when input and
    output lose different channels. One zero channel is appended to the input, and the padding points at it.
    """

    index: torch.Tensor

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        index = torch.full((outputs,), inputs, dtype=torch.int64)
        before = (outputs - inputs) // 2
        index[before : before + inputs] = torch.arange(inputs)
        self.register_buffer("index", index, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        seen = features[:, :, :: self.stride, :: self.stride]
        return torch.index_select(functional.pad(seen, (0, 0, 0, 0, 0, 1)), 1, self.index)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else PadShortcut(inputs, outputs, stride=stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        inner = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(features))


def _make_stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride=stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, stride=1) for _ in range(blocks - 1)))

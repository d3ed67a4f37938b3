"""ResNet-20 for 32x32 images with option-A shortcuts: `resnet20`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from deploy_prune.sources.architectures.resnet_cifar import ResNetCifar
from deploy_prune.sources.models import ModelSource
from deploy_prune.sources.networks import own_architecture
from deploy_prune.values import Network


@dataclass(frozen=True)
class ResNet20:
    """Three stages of 3 blocks."""

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        return own_architecture("resnet20", rest, _make, classes=classes, input_shape=input_shape, usual=(10, 32))


def _make(classes: int, channels: int) -> nn.Module:
    return ResNetCifar(classes, blocks=3, input_channels=channels)


plugin: type[ModelSource] = ResNet20

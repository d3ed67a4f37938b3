"""VGG-16 with batch norm for 32x32 images: `vgg16_bn` (ImageNet's is `torchvision:vgg16_bn`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from deploy_prune.sources.architectures.vgg_cifar import VggCifar
from deploy_prune.sources.models import ModelSource
from deploy_prune.sources.networks import own_architecture
from deploy_prune.values import Network


@dataclass(frozen=True)
class Vgg16Bn:
    """Thirteen convolutions and one linear layer."""

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        return own_architecture("vgg16_bn", rest, _make, classes=classes, input_shape=input_shape, usual=(10, 32))


def _make(classes: int, channels: int) -> nn.Module:
    return VggCifar(classes, input_channels=channels)


plugin: type[ModelSource] = Vgg16Bn

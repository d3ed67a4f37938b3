"""The first convolution of a network made for large images, adapted to small ones."""

from __future__ import annotations

from torch import nn

from deploy_prune.errors import ConfigError


def set_stem_stride(module: nn.Module, stride: int) -> None:
    """Give the first convolution of a network that was just built another stride.

    At 32x32 the ImageNet stem's stride 2 throws away most of the picture: CIFAR variants use 1.

    Raises:
        ConfigError: the network has no convolution, or the stride is not positive.
    """
    if stride < 1:
        raise ConfigError(f"the stem's stride is {stride}", hint="use 1 for 32x32 images, 2 for ImageNet's sizes")
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            child.stride = (stride, stride)
            return
    message = "the network has no convolution, so it has no stem whose stride could be set"
    raise ConfigError(message, hint="leave stem_stride out")

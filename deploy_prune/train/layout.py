"""How a network is asked fastest: how images lie in memory, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LAID_OUT = 4
"""The dimensions of images that can lie channels last, by which CPUs convolve up to twice as fast."""
JUDGED_ROWS, MOST_JUDGED = 2048, 256
"""Rows of pixels in the images that a CPU judges at once, 64 of 32 x 32, 9 of 224 x 224, and the most images anywhere.
What layers leave of so few stays in its cache."""


def choose_layout(module: nn.Module, images: Tensor) -> torch.memory_format:
    """Choose channels last for a module that takes images so; others view what they read as if it lay as usual.

    Args:
        module: in eval mode, where the images are; it is left as it is.
        images: (images, channels, height, width); the first is tried.
    """
    if images.dim() != LAID_OUT or not len(images):
        return torch.contiguous_format
    try:
        with torch.inference_mode():
            module(images[:1].contiguous(memory_format=torch.channels_last))
    except RuntimeError:  # whatever else it fails for, it will fail for again
        return torch.contiguous_format
    return torch.channels_last


def count_judged_at_once(image_shape: Sequence[int], device: torch.device) -> int:
    """How many images (channels, height, width) a network is asked about at once, where it computes."""
    return min(max(JUDGED_ROWS // image_shape[-2], 1), MOST_JUDGED) if device.type == "cpu" else MOST_JUDGED

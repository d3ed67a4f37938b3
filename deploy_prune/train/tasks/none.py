"""No task: images without labels, on which a network is held against the dense network that it was pruned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from deploy_prune.errors import ConfigError
from deploy_prune.train.distillation import distance, relative_errors
from deploy_prune.train.outputs import Outputs, are_class_scores, list_tensors
from deploy_prune.train.tasks import Answers, Task
from deploy_prune.values import Data


@dataclass(frozen=True)
class Unlabelled:
    """Agreement with the dense network, output by output; the dense network itself has 1.0."""

    needs_labels: ClassVar[bool] = False
    quality: ClassVar[str] = "agreement with the dense network"
    unanswered: ClassVar[str] = "no labels: all outputs are compared as numbers"

    def check(self, outputs: Outputs, images: int, data: Data) -> None:
        """Any outputs will do that lie along the images, if one of them is floating point, which training can move."""
        del data
        tensors = list_tensors(outputs)
        bad = [tensor for tensor in tensors if tensor.dim() < 1 or len(tensor) != images]
        if not bad and any(tensor.is_floating_point() for tensor in tensors):
            return
        returned = " and ".join(f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in tensors) or "no tensor"
        message = f"for {images} images the network returns {returned}, on which it cannot be trained image by image"
        hint = "let its forward return tensors of floating point (images, ...), alone or in a tuple, list or dictionary"
        raise ConfigError(message, hint=hint)

    def numbers(self, outputs: Outputs, target: Outputs) -> Tensor:
        """The mean agreement over all outputs, (images,), from 0 to 1.

        Class scores (images, classes) agree where their largest is the same, which is 1 or 0; any other output by 1 -
        |output - dense| / |dense|, but no less than 0.
        """
        pairs = zip(list_tensors(outputs), list_tensors(target), strict=True)
        return torch.stack([_agreement(ours.float(), dense.float()) for ours, dense in pairs]).mean(dim=0)

    def loss(self, outputs: Outputs, target: Outputs, *, smoothing: float = 0.0, temperature: float = 1.0) -> Tensor:
        """The distance from the dense network's outputs."""
        del smoothing
        return distance(outputs, target, temperature)

    def answers(
        self, found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], tolerance: float
    ) -> Answers | None:
        """No answers: nobody has said what the outputs mean."""
        del found, expected, tolerance
        return None


def _agreement(outputs: Tensor, dense: Tensor) -> Tensor:
    if are_class_scores(dense):
        return (outputs.argmax(dim=1) == dense.argmax(dim=1)).float()
    return (1 - relative_errors(outputs, dense)).clamp(0, 1)


plugin: type[Task] = Unlabelled

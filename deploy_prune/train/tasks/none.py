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

    classes: int | None = None
    """How many classes the network scores: an output (images, classes, ...) is then judged by its best classes. None:
    it does not say, and only rows of numbers, (images, classes), are."""

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

        Class scores agree where their largest is the same: for an image, which is 1 or 0, or for a share of its
        positions. So do whole numbers where they are equal; any other output by 1 - |output - dense| / |dense|, but no
        less than 0.
        """
        pairs = zip(list_tensors(outputs), list_tensors(target), strict=True)
        return torch.stack([self._agreement(ours, dense) for ours, dense in pairs]).mean(dim=0)

    def describe(self, outputs: Outputs) -> str:
        """Output by output: its shape for one image, and what agreement is there."""
        parts = [f"{tuple(tensor.shape[1:])}: {self._name_agreement(tensor)}" for tensor in list_tensors(outputs)]
        told = "; ".join(f"output {number} {part}" for number, part in enumerate(parts, start=1))
        return told + "; the mean of all" * (len(parts) > 1)

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

    def _agreement(self, outputs: Tensor, dense: Tensor) -> Tensor:
        if not dense.is_floating_point():
            return _share(outputs == dense)
        if are_class_scores(dense, self.classes):
            return _share(outputs.argmax(dim=1) == dense.argmax(dim=1))
        return (1 - relative_errors(outputs.float(), dense.float())).clamp(0, 1)

    def _name_agreement(self, tensor: Tensor) -> str:
        """What agreement is for one output."""
        where = "positions" if tensor.dim() > 2 else "images"
        if not tensor.is_floating_point():
            return "the share of numbers that are equal"
        if are_class_scores(tensor, self.classes):
            return f"the share of {where} with the same best of {tensor.shape[1]} classes"
        return "1 - |output - dense| / |dense|, as it holds no class scores"


def _share(same: Tensor) -> Tensor:
    """The share of an image's positions: bool (images, ...) -> (images,)."""
    return same.reshape(len(same), -1).float().mean(dim=1)


plugin: type[Task] = Unlabelled

"""Classification: an image has one class, and the largest of the network's scores says which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional

from deploy_prune.errors import ConfigError
from deploy_prune.train.outputs import Outputs, are_class_scores, list_tensors
from deploy_prune.train.tasks import Answers, Task
from deploy_prune.values import TOP_1, Data


@dataclass(frozen=True)
class Classification:
    """Top-1 and cross-entropy of class scores: the network's output, or the first of several."""

    needs_labels: ClassVar[bool] = True
    quality: ClassVar[str] = TOP_1
    unanswered: ClassVar[str] = "no class scores: top-1 not compared"

    def check(self, outputs: Outputs, images: int, data: Data) -> None:
        """The first output must be a row of scores per image, one for every class of the data."""
        tensors = list_tensors(outputs)
        needed = (images, len(data.classes))
        if not tensors or tuple(tensors[0].shape) != needed:
            raise _refuse(tensors, f"scores {needed} first for {images} images of {data.name}")

    def describe(self, outputs: Outputs) -> str:
        """Nothing: everybody knows top-1."""
        del outputs
        return ""

    def numbers(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Whether the largest score is that of the label: bool (images,)."""
        return _scores(outputs).argmax(dim=1) == target

    def loss(self, outputs: Outputs, target: Tensor, *, smoothing: float = 0.0, temperature: float = 1.0) -> Tensor:
        """Cross-entropy."""
        del temperature
        return functional.cross_entropy(_scores(outputs), target, label_smoothing=smoothing)

    def answers(
        self, found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], tolerance: float
    ) -> Answers | None:
        """The best class by the first output, if that is one row of class scores per input."""
        theirs, ours = found[0], expected[0]
        if ours.ndim != 2 or ours.shape[1] < 2:
            return None
        rows = np.arange(len(ours))
        their_class, our_class = theirs.argmax(axis=1), ours.argmax(axis=1)
        margin = ours[rows, our_class] - ours[rows, their_class]
        differs = their_class != our_class
        tie = differs & (margin <= tolerance * np.abs(ours).max(axis=1))
        return Answers(~differs | tie, tie)


def _scores(outputs: Outputs) -> Tensor:
    """The class scores, (images, classes)."""
    tensors = list_tensors(outputs)
    if not tensors or not are_class_scores(tensors[0]):
        raise _refuse(tensors, "scores (images, classes) first")
    return tensors[0]


def _refuse(tensors: Sequence[Tensor], needed: str) -> ConfigError:
    returned = " and ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no tensor"
    message = f"a network that classifies returns {needed}, this one returns {returned}"
    hint = "take --task none, which holds it against the dense network, or bring your own loss and metric (hooks)"
    return ConfigError(message, hint=hint)


plugin: type[Task] = Classification

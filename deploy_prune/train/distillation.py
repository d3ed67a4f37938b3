"""How far a network's outputs are from another network's on the same images: what distillation makes small."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from deploy_prune.train.outputs import Outputs, are_class_scores, list_tensors

TINY = torch.finfo(torch.float32).tiny
"""The least that an error is divided by: an answer that is zero throughout is no measure."""


def distance(outputs: Outputs, answers: Outputs, temperature: float) -> Tensor:
    """The distance from one network's outputs to another's answers, a scalar; of several outputs, the sum.

    Class scores (images, classes) are softened and compared as Hinton et al. 2015 do (arXiv 1503.02531, equation 4.1);
    of any other output an image's distance is |output - answer|^2 / the batch's mean of |answer|^2, which has no unit.
    Above 1 it grows as the error does, not as its square (Huber 1964): further away there is no more pull.
    """
    pairs = zip(list_tensors(outputs), list_tensors(answers), strict=True)
    return torch.stack([_distance(ours.float(), theirs.float(), temperature) for ours, theirs in pairs]).sum()


def relative_errors(outputs: Tensor, answers: Tensor) -> Tensor:
    """|output - answer| / |answer| of each image, Euclidean norms: (images, ...) twice -> (images,)."""
    apart: Tensor = torch.linalg.vector_norm((outputs - answers).flatten(1), dim=1)
    scale: Tensor = torch.linalg.vector_norm(answers.flatten(1), dim=1)
    return apart / scale.clamp_min(TINY)


def _distance(outputs: Tensor, answers: Tensor, temperature: float) -> Tensor:
    if not are_class_scores(answers):
        squares, sizes = (each.flatten(1).square().sum(dim=1) for each in (outputs - answers, answers))
        size = sizes.mean()
        ratios = squares / torch.where(size > 0, size, 1)  # an output that is zero throughout is no measure
        return torch.where(ratios <= 1, ratios, 2 * ratios.clamp_min(1).sqrt() - 1).mean()
    softened = functional.softmax(answers / temperature, dim=1)
    ours = functional.log_softmax(outputs / temperature, dim=1)
    # Times the temperature squared: gradients of softened answers shrink by as much.
    return functional.kl_div(ours, softened, reduction="batchmean") * temperature**2

"""Any network of torchvision that classifies or segments: `torchvision:mobilenet_v2`, `torchvision:lraspp_...`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torchvision import models

from deploy_prune.errors import ConfigError, UnknownName
from deploy_prune.sources.architectures.keywords import call_with
from deploy_prune.sources.architectures.stem import set_stem_stride
from deploy_prune.sources.models import ModelSource
from deploy_prune.values import Network

# Auxiliary classifiers serve training from scratch only, and would make the output a tuple; without
# `init_weights` torchvision warns that its default will change.
KEYWORDS = {
    "inception_v3": {"aux_logits": False, "init_weights": True},
    "googlenet": {"aux_logits": False, "init_weights": True},
}
BARE_BACKBONE = {"weights_backbone": None}
"""Nothing is downloaded: weights come from the user's file."""
SIDES = {"inception_v3": 299}
DEFAULT_SIDE, SEGMENTED_SIDE = 224, 520
DEFAULT_CLASSES, SEGMENTED_CLASSES = 1000, 21
"""What torchvision's own weights take and tell apart, of whole images and of pixels."""


@dataclass(frozen=True)
class Torchvision:
    """Untrained networks by torchvision's own names; those that segment return a dictionary of maps."""

    stem_stride: int | None = None
    """Stride of the first convolution; 1 for 32x32 images. None: as published."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the model's own constructor, such as `width_mult=0.5`."""

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        segments = rest in models.list_models(module=models.segmentation)
        known = models.list_models(module=models) + models.list_models(module=models.segmentation)
        if rest not in known:
            if rest in models.list_models():
                message = f"torchvision:{rest} neither classifies nor segments: it is of {_find_task(rest)}"
                raise ConfigError(message, hint=_HINT)
            raise UnknownName("torchvision model", rest, known)
        classes = classes or (SEGMENTED_CLASSES if segments else DEFAULT_CLASSES)
        side = SEGMENTED_SIDE if segments else SIDES.get(rest, DEFAULT_SIDE)
        shape = input_shape or (3, side, side)
        if shape[0] != 3:
            message = f"torchvision:{rest} takes images of 3 channels, not {shape[0]}"
            raise ConfigError(message, hint=f"write 3,{shape[1]},{shape[2]}")
        address = f"torchvision:{rest}"
        own = BARE_BACKBONE if segments else KEYWORDS.get(rest, {})
        usual = {key: value for key, value in own.items() if key not in self.others}
        make = partial(models.get_model_builder(rest), weights=None)
        try:
            module = call_with(make, address, self.others, num_classes=classes, **usual)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ConfigError(f"torchvision cannot build {rest}: {error}", hint="leave out its options") from error
        if self.stem_stride is not None:
            set_stem_stride(module, self.stem_stride)
        return Network(address=address, module=module, input_shapes=(shape,), classes=classes)


def _find_task(name: str) -> str:
    """What a model of torchvision is for, which is the name of the part of torchvision that it is in."""
    module: str = models.get_model_builder(name).__module__
    return module.split(".")[2]


_HINT = (
    "torchvision: builds networks that classify or segment; prune a part of it by a file of your own, whose function "
    "returns for example the backbone (my_net.py:build), and put the pruned part back"
)

plugin: type[ModelSource] = Torchvision

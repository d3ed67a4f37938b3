"""Any classifier of timm: `timm:mobilenetv1_100`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import timm

from deploy_prune.errors import ConfigError, UnknownName
from deploy_prune.sources.architectures.keywords import call_with
from deploy_prune.sources.architectures.stem import set_stem_stride
from deploy_prune.sources.models import ModelSource
from deploy_prune.values import Network


@dataclass(frozen=True)
class Timm:
    """Untrained classifiers by timm's own names."""

    stem_stride: int | None = None
    """Stride of the first convolution; 1 for 32x32 images. None: as published."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the model's own constructor, such as `pad_type=same` or `bn_eps=0.001`."""

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        if not timm.is_model(rest):
            raise UnknownName("timm model", rest, timm.list_models())
        keywords: dict[str, Any] = {}
        if classes is not None:
            keywords["num_classes"] = classes
        if input_shape is not None:
            keywords["in_chans"] = input_shape[0]
        try:
            make = partial(timm.create_model, rest, pretrained=False)
            module: Any = call_with(make, f"timm:{rest}", self.others, **keywords)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            hint = "leave out the options, the number of classes or the input shape: not every model takes them"
            raise ConfigError(f"timm cannot build {rest}: {error}", hint=hint) from error
        if self.stem_stride is not None:
            set_stem_stride(module, self.stem_stride)
        shape = input_shape or tuple(module.default_cfg["input_size"])
        scored = int(module.num_classes) or None  # 0: timm leaves the classifier out
        return Network(address=f"timm:{rest}", module=module, input_shapes=(shape,), classes=scored)


plugin: type[ModelSource] = Timm

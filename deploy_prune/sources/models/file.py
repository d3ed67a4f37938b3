"""The user's own network: `path/to/file.py:factory`, where `factory(num_classes=...)` returns an `nn.Module`.

The factory may return a `Network` instead, where there is more to say (several inputs). With a plain module the
input shape is the one that was asked for, else 3x224x224; without a number of classes the factory is called
without the keyword, and the scores that it answers one image with are counted, if it answers with scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.sources.models import ModelSource
from deploy_prune.values import Network

DEFAULT_SHAPE = (3, 224, 224)


@dataclass(frozen=True)
class FileModel:
    """Calls a function of the user's own file (and so runs the file)."""

    def build(self, rest: str, *, classes: int | None, input_shape: tuple[int, int, int] | None) -> Network:
        """See the contract."""
        factory = plugins.fetch_user_object(rest)
        try:
            made = factory() if classes is None else factory(num_classes=classes)
        except Exception as error:
            hint = "it is called as factory(num_classes=N), or without arguments when no number of classes is known"
            raise ConfigError(f"{rest} failed: {type(error).__name__}: {error}", hint=hint) from error
        if isinstance(made, Network):
            return made
        if not isinstance(made, nn.Module):
            raise ConfigError(f"{rest} returned a {type(made).__name__}", hint="return an nn.Module or a Network")
        shape = input_shape or DEFAULT_SHAPE
        counted = classes if classes is not None else _count_classes(rest, made, shape)
        return Network(address=rest, module=made, input_shapes=(shape,), classes=counted)


def _count_classes(address: str, module: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """The number of scores for one image, (1, classes); None: the network returns something else."""
    try:
        with torch.no_grad():
            output = module.eval()(torch.zeros(1, *shape))
    except Exception as error:
        sizes = "x".join(map(str, shape))
        text = f"{address} does not run on an input of {sizes}: {type(error).__name__}: {error}"
        hint = "set the input shape to one that the network takes: --input-shape C,H,W, such as 3,32,32"
        raise ConfigError(text, hint=hint) from error
    return output.shape[1] if isinstance(output, torch.Tensor) and output.ndim == 2 else None


plugin: type[ModelSource] = FileModel

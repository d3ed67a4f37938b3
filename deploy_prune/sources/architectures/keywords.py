"""Options that a model's own constructor takes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from deploy_prune.errors import ConfigError, UnknownName

UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
OURS = frozenset(
    ["pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "weights", "weights_backbone", "checkpoint_path",
     "cache_dir", "progress", "num_classes", "in_chans", "features_only"]
)  # fmt: skip
"""Keywords that are not the user's: they load weights, or have flags of their own, or make no classifier."""


def call_with(make: Callable[..., Any], address: str, others: Mapping[str, Any], **ours: Any) -> Any:
    """Call a constructor with the user's keywords beside our own.

    Args:
        make: the constructor.
        address: what messages call the model.
        others: the user's keywords.
        ours: our own, which the user's may not replace.

    Raises:
        UnknownName: the constructor knows no keyword of that name.
        ConfigError: the keyword is not the user's to give.
    """
    if taken := OURS & others.keys():
        hint = "weights come from --weights, classes from --classes, channels from --input-shape"
        raise ConfigError(f"{address} takes no option '{sorted(taken)[0]}'", hint=hint)
    try:
        return make(**ours, **others)
    except TypeError as error:
        unknown = UNEXPECTED.search(str(error))
        if unknown and unknown[1] in others:
            raise UnknownName(f"option of {address}", unknown[1], list_keywords(type(make(**ours)))) from error
        raise


def list_keywords(module: type[Any]) -> Iterable[str]:
    """The keywords that a class names itself and a user may give."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = inspect.signature(module).parameters.values()
    return [each.name for each in named if each.kind in kinds and each.name not in OURS]

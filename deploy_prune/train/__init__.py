"""Training and judging: the only training loop of the package.

What needs torch is imported when it is asked for, so that a configuration, which holds recipes, is read without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy_prune.train.evaluation import evaluate as evaluate
    from deploy_prune.train.evaluation import paired_difference as paired_difference
    from deploy_prune.train.few_steps import tune as tune
    from deploy_prune.train.loop import fit as fit
    from deploy_prune.train.recalibration import norm_batches as norm_batches
    from deploy_prune.train.recalibration import recalibrate_norms as recalibrate_norms
    from deploy_prune.train.recalibration import with_norms_of as with_norms_of
    from deploy_prune.train.recipe import Batch as Batch
    from deploy_prune.train.recipe import Hooks as Hooks
    from deploy_prune.train.recipe import Recipe as Recipe

_HOMES = {
    "Batch": "recipe",
    "Hooks": "recipe",
    "Recipe": "recipe",
    "evaluate": "evaluation",
    "fit": "loop",
    "norm_batches": "recalibration",
    "paired_difference": "evaluation",
    "recalibrate_norms": "recalibration",
    "tune": "few_steps",
    "with_norms_of": "recalibration",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return vars(importlib.import_module(f"{__name__}.{_HOMES[name]}"))[name]

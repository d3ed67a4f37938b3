"""Training and judging: the only training loop of the package."""

from __future__ import annotations

from deploy_prune.train.evaluation import evaluate as evaluate
from deploy_prune.train.evaluation import paired_difference as paired_difference
from deploy_prune.train.few_steps import tuned as tuned
from deploy_prune.train.loop import fit as fit
from deploy_prune.train.recalibration import norm_batches as norm_batches
from deploy_prune.train.recalibration import recalibrate_norms as recalibrate_norms
from deploy_prune.train.recalibration import with_norms_of as with_norms_of
from deploy_prune.train.recipe import Batch as Batch
from deploy_prune.train.recipe import Hooks as Hooks
from deploy_prune.train.recipe import Recipe as Recipe

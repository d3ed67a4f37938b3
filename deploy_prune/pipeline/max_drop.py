"""The question users really ask: the fastest network that loses at most so many points.

One ranking, learnt at the tightest budget; then bisection over budgets, each fine-tuned once and judged on validation.
The test split is looked at for the network that is found, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deploy_prune.budget.parse import fraction_of
from deploy_prune.errors import ConfigError, TargetMissed
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.front import folder_name, rank_network, share_base, with_budget
from deploy_prune.pipeline.run import prune, train_pruned
from deploy_prune.records import read_record, write_record
from deploy_prune.results import DenseResult, RunSummary
from deploy_prune.run_folder import RunFolder
from deploy_prune.search_results import DropSearch, DropTry
from deploy_prune.train.recipe import Hooks
from deploy_prune.values import Budget, Progress, told_in_lines

DROP = "drop.json"
LEVELS = 16
LOOSEST = 0.95
"""The first level, as a share of the dense network's cost."""


def within_drop(
    config: RunConfig,
    allowed_points: float,
    out: Path | str,
    *,
    hooks: Hooks | None = None,
    progress: Progress = told_in_lines,
) -> tuple[DropSearch, RunSummary]:
    """The fastest network on the front of one ranking that loses at most so much on validation, shipped and tested.

    Args:
        config: its budget is the tightest that is tried, and the one that the ranking is learnt at.
        allowed_points: hundredths of the quality (for a classifier, of top-1) that may be lost against the dense
            network, such as 1.0.
        out: a folder; the same call continues.
        hooks: the caller's own loss, metric, batch step or whole training.
        progress: told how far the long stages are.

    Raises:
        ConfigError: not a positive number of points.
        TargetMissed: every network loses more; says how much the least pruned one did.
        DeployPruneError: see `errors`; what was finished stays.
    """
    if allowed_points <= 0:
        raise ConfigError(f"a drop of {allowed_points:g} points leaves no network", hint="write 1.0 for one point")
    out = Path(out)
    shared = share_base(config, out)
    base = rank_network(config, (config.parsed_budget,), shared, hooks=hooks, progress=progress)
    budgets = _levels(base, out)
    tries: dict[int, DropTry] = {}
    dense = read_record(out / "dense.json", DenseResult).val

    def fits(level: int) -> bool:
        if level not in tries:
            run = out / folder_name(budgets[level])
            trained = train_pruned(with_budget(base, budgets[level]), run, shared, hooks=hooks, progress=progress)
            lost, text = 100 * (dense.value - trained.val.value), budgets[level].text
            tries[level] = DropTry(text, run.name, lost, trained.seconds)
            progress("bisection", len(tries), _most_tries(len(budgets)), f"{text}: {lost:+.2f} points lost")
        return tries[level].lost_points <= allowed_points

    level = _tightest_that(fits, len(budgets))
    name = "" if level is None else folder_name(budgets[level])
    search = DropSearch(allowed_points, dense.value, tuple(tries.values()), name, dense.name)
    write_record(out / DROP, search)
    if level is None:
        least = min(tries.values(), key=lambda each: each.lost_points)
        raise TargetMissed(
            f"no network loses at most {allowed_points:g} points of {dense.name} on validation; "
            f"at {least.budget} it is {least.lost_points:.2f}",
            hint="fine-tune longer (--epochs), or allow more",
        )
    config = with_budget(base, budgets[level])
    return search, prune(config, out / name, base=shared, hooks=hooks, progress=progress)


def _tightest_that(fits: Callable[[int], bool], levels: int) -> int | None:
    """Bisection over levels from the tightest (0) to the loosest, of which those that fit are the last ones."""
    low, high = 0, levels
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low if low < levels else None


def _most_tries(levels: int) -> int:
    return int(np.ceil(np.log2(levels + 1)))


def _levels(base: RunConfig, out: Path) -> Sequence[Budget]:
    """Budgets from the tightest to nearly the dense network, evenly on a logarithmic scale."""
    context = RunContext(base, RunFolder(out), Hooks())
    tightest = context.price.limit / context.price.dense
    shares = np.geomspace(tightest, max(LOOSEST, tightest), LEVELS)
    return tuple(dict.fromkeys(fraction_of(base.parsed_budget.cost, share) for share in shares))

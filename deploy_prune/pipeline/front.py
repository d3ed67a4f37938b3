"""One ranking, many budgets: accuracy against measured time, with the controls that any front has to beat.

The dense network is trained once and scored once, at the tightest budget. Every budget is a run folder of its own
below `out`, as `prune` would make it, so that a killed front goes on with the next stage of the run it was in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from deploy_prune.analysis.page.writing import write_page
from deploy_prune.analysis.plots import Line, Plot, save
from deploy_prune.budget.parse import parse
from deploy_prune.errors import BudgetError, MissingDependency
from deploy_prune.exporting.export import keep_export_workshop
from deploy_prune.pipeline import stages
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import FrontBase, RunContext, read_own_images, record_data, record_what_breaks
from deploy_prune.pipeline.decide import score_once
from deploy_prune.pipeline.deciders import build_deciders
from deploy_prune.pipeline.parts import build_study
from deploy_prune.pipeline.preflight import adopt_run_folder, preflight
from deploy_prune.pipeline.run import describe_asked, find_hooks, prune
from deploy_prune.pipeline.smaller_images import SmallerRun, smaller_shapes, train_smaller
from deploy_prune.records import write_record
from deploy_prune.results import DenseResult, ProfileResult, RunSummary
from deploy_prune.run_folder import is_begun, open_run
from deploy_prune.scoring.best_scored import SELECTING, BestScored
from deploy_prune.search_results import FRONT, Front, FrontPoint, PointKind
from deploy_prune.sources import checkpoint
from deploy_prune.timing.devices import MILLISECONDS
from deploy_prune.train.recipe import Hooks
from deploy_prune.trust import trust_named
from deploy_prune.values import TOP_1, Budget, Measurement, Progress, quiet, told_in_lines

logger = logging.getLogger(__name__)

PNG = "front.png"
CONTROL = "uniform"


def front(
    config: RunConfig,
    budgets: Sequence[str],
    out: Path | str,
    *,
    controls: bool = True,
    hooks: Hooks | None = None,
    progress: Progress = told_in_lines,
) -> Front:
    """Prune a network to several budgets by one ranking; each is fine-tuned, exported, verified and timed.

    Args:
        config: what to do; its own budget is not looked at.
        budgets: of one cost, such as `8ms`, `6ms`, `4ms`.
        out: a folder; the same call continues.
        controls: also uniform widths at every budget, and the dense network on smaller images.
        hooks: the caller's own loss, metric, batch step or whole training.
        progress: told how far the long stages are.

    Raises:
        BudgetError: budgets of several costs, or out of reach.
        DeployPruneError: see `errors`; what was finished stays.
    """
    parsed = tuple(map(parse, budgets))
    find_tightest(parsed)
    trust_named(config.code)
    out, hooks = Path(out), find_hooks(config, hooks)
    shared = share_base(config, out)
    base = rank_network(config, parsed, shared, hooks=hooks, progress=progress)
    arms: list[tuple[RunConfig, PointKind]] = [(base, "pruned")]
    arms += [(_control(base), "uniform")] * controls
    points: list[FrontPoint] = []
    reference, quality, unit = None, TOP_1, MILLISECONDS
    with keep_export_workshop() as lend_shop:
        shared = replace(shared, open_shop=lend_shop)
        for budget, (arm, kind) in product(parsed, arms):
            run = out / folder_name(budget, kind)
            summary = prune(with_budget(arm, budget), run, base=shared, hooks=hooks, progress=progress)
            if not points:  # all ratios are to the dense file, whose milliseconds are those of one session
                (reference, unit), quality = _find_reference(summary), summary.test.dense.name
                points.append(_dense_point(summary, run, reference))
            points.append(_point(summary, kind, budget.text, run, reference))
    if controls and any(point.ratio is not None for point in points[1:]):  # files are timed
        points += _smaller(base, out, hooks, reference, progress)
    result = Front(config.model, config.data, config.method, tuple(points), quality, unit)
    write_record(out / FRONT, result)
    try:
        draw(result, out)
        write_page(out)
    except MissingDependency as error:
        logger.warning("the front is not drawn: %s; %s", error.message, error.hint)
    return result


def rank_network(
    config: RunConfig,
    budgets: Sequence[Budget],
    base: FrontBase,
    *,
    hooks: Hooks | None = None,
    progress: Progress = quiet,
) -> RunConfig:
    """Train the dense network and score it at the tightest budget, once; the configuration of runs that go on.

    Raises:
        DeployPruneError: see `errors`; what was finished stays.
    """
    trust_named(config.code)
    config = with_budget(adopt_run_folder(config), find_tightest(budgets))
    hooks = find_hooks(config, hooks)
    with (
        open_run(base.folder, describe_asked(config), progress=progress) as folder,
        record_what_breaks(RunContext(config, folder, hooks, lend=base.lend)) as context,
    ):
        if not context.has_begun:
            preflight(context, budgets)
            record_data(context)
        if context.needs_profile:
            folder.stage("profiled", ProfileResult, lambda: stages.profile(context, budgets))
        folder.stage("dense", DenseResult, lambda: stages.train_dense(context))
        study = build_study(context, context.network("dense"), progress)
        scorer, selector = build_deciders(config)
        score_once(study, scorer, folder)
        own: dict[str, Any] = {}
        if isinstance(selector, BestScored):
            selector.score(study)
            own = {"select": str(base.folder / SELECTING), "select_options": {}}
    own |= {"model_options": {}, "classes": None, "input_shape": None, "weights": None, "pretrain": None}
    return RunConfig.model_validate({**dict(config), **own, "model": str(base.folder / "dense"), "scores": base.folder})


def share_base(config: RunConfig, out: Path) -> FrontBase:
    """What a front in the folder `out` and all its runs share: images are read when they are first asked for."""
    return FrontBase(out, cache(lambda: read_own_images(adopt_run_folder(config), [out] if is_begun(out) else [])))


def with_budget(config: RunConfig, budget: Budget) -> RunConfig:
    """The same with another budget."""
    return RunConfig.model_validate({**dict(config), "budget": budget.text})


def folder_name(budget: Budget, kind: str = "pruned") -> str:
    """The name of the folder of a budget's run, such as `8ms`, `uniform-latency-0.5x`."""
    name = re.sub(r"[^0-9A-Za-z.]+", "-", budget.text)
    return name if kind == "pruned" else f"{kind}-{name}"


def find_tightest(budgets: Sequence[Budget]) -> Budget:
    """The smallest of budgets that are all of one cost, and all fractions or all amounts.

    Raises:
        BudgetError: they are not.
    """
    texts = ", ".join(budget.text for budget in budgets)
    if len({(budget.cost, budget.relative) for budget in budgets}) != 1:
        hint = "write 8ms,6ms,4ms or 0.7x,0.5x"
        raise BudgetError(f"{texts}: these budgets are of several kinds", hint=hint)
    if len({budget.limit for budget in budgets}) != len(budgets):
        raise BudgetError(f"{texts}: a budget is given twice", hint="give each once")
    return min(budgets, key=lambda budget: budget.limit)


def _control(base: RunConfig) -> RunConfig:
    own: dict[str, Any] = {
        "method": CONTROL,
        "method_options": {},
        "scores": None,
        "widths": "uniform",
        "widths_options": {},
        "select": None,
        "select_options": {},
    }
    return RunConfig.model_validate({**dict(base), **own})


def _dense_point(summary: RunSummary, run: Path, reference: float | None) -> FrontPoint:
    spread = (reference, reference) if reference else None
    return FrontPoint(
        "dense", "", run.name, 1.0, (1.0, 1.0), reference, spread, summary.test.dense.value,
        summary.test.dense.interval, summary.dense.val.value, summary.dense.count.macs, summary.dense.count.params,
    )  # fmt: skip


def _point(summary: RunSummary, kind: PointKind, budget: str, run: Path, reference: float | None) -> FrontPoint:
    measured = _measured(summary)
    ratio, interval = (measured.ratio, measured.ratio_interval) if measured else (None, None)
    return FrontPoint(
        kind, budget, run.name, ratio, interval,
        ratio * reference if ratio and reference else None,
        (interval[0] * reference, interval[1] * reference) if interval and reference else None,
        summary.test.pruned.value, summary.test.pruned.interval, summary.trained.val.value,
        summary.cut.count.macs, summary.cut.count.params,
    )  # fmt: skip


def _measured(summary: RunSummary) -> Measurement | None:
    """How long the pruned file takes that the budget is of, or the first that was timed."""
    closing = summary.plan.closing
    for item in summary.speedups if closing else ():
        assert closing
        if (item.target.runtime, item.target.threads) == (closing.target.runtime, closing.target.threads):
            return item
    return next(iter(summary.speedups), None)


def _find_reference(summary: RunSummary) -> tuple[float | None, str]:
    """What a ratio of 1 stands for, and its unit: the target's reference, or what the dense file took in this session.

    None where nothing was timed.
    """
    closing = summary.plan.closing
    if closing is not None:
        return closing.reference, closing.unit
    dense = [item for item in summary.bench.measurements if item.ratio is None]
    return (dense[0].median, dense[0].unit) if dense else (None, MILLISECONDS)


def _smaller(base: RunConfig, out: Path, hooks: Hooks, reference: float | None, progress: Progress) -> list[FrontPoint]:
    """The dense network on smaller images, trained there as the pruned ones are; not at sizes it does not take."""
    points = []
    own = checkpoint.description(Path(base.model)).input_shape
    for shape in smaller_shapes(own) if base.threads else ():
        name = "x".join(map(str, shape))
        with open_run(out / f"smaller-{name}", {**describe_asked(base), "smaller": name}, progress=progress) as folder:
            outcome = folder.stage("smaller", SmallerRun, lambda s=shape, f=folder: train_smaller(base, s, f, hooks))  # type: ignore[misc]
        if outcome.reason:
            logger.warning("images of %s are left out of the front: %s", name, outcome.reason)
        else:
            points.append(_smaller_point(outcome, name, reference))
    return points


def _smaller_point(outcome: SmallerRun, name: str, reference: float | None) -> FrontPoint:
    assert outcome.count
    assert outcome.val
    assert outcome.test
    assert outcome.ratio
    assert outcome.interval
    low, high = outcome.interval
    return FrontPoint(
        "smaller", name, f"smaller-{name}", outcome.ratio, outcome.interval,
        outcome.ratio * reference if reference else None,
        (low * reference, high * reference) if reference else None,
        outcome.test.value, outcome.test.interval, outcome.val.value, outcome.count.macs, outcome.count.params,
    )  # fmt: skip


def draw(front: Front, out: Path) -> None:
    """The front as PNG: quality on test against time, with 95 % intervals of both.

    Raises:
        MissingDependency: what draws is not installed.
    """
    has_times = all(point.latency_ms is not None for point in front.points)
    shares = all(0 <= point.test <= 1 for point in front.points)
    scale, lines = 100 if shares else 1, []
    for kind in dict.fromkeys(point.kind for point in front.points):
        points = sorted((each for each in front.points if each.kind == kind), key=lambda each: each.macs)
        times = [
            (each.latency_ms, each.latency_interval_ms) if has_times else (each.ratio, each.interval) for each in points
        ]
        if any(time is None or spread is None for time, spread in times):
            return  # not timed: there is no front to draw
        lines.append(
            Line(
                kind,
                tuple(time for time, _ in times if time is not None),
                tuple(scale * each.test for each in points),
                x_spread=tuple(spread for _, spread in times if spread is not None),
                y_spread=tuple((scale * each.test_interval[0], scale * each.test_interval[1]) for each in points),
            )
        )
    x_label, y_label = front.unit if has_times else "time / dense", f"{front.quality} on test{', %' * shares}"
    plot = Plot(f"{front.model} on {front.data}, {front.method}", x_label, y_label, tuple(lines), from_zero=False)
    save(plot, out / PNG)

"""The whole road, top to bottom: a configuration in, a run folder with verified and timed files out.

Every stage records its result when it is done; the same call on the same folder continues after the last one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy_prune import plugins
from deploy_prune.analysis.report_times import name_timed
from deploy_prune.errors import ConfigError, NoSpeedUp, ParityFailed, RecordError, TargetMissed
from deploy_prune.exporting.export import keep_export_workshop
from deploy_prune.pipeline import ship_stage, stages
from deploy_prune.pipeline.config import RunConfig, check_config
from deploy_prune.pipeline.context import FrontBase, RunContext, record_data, record_what_breaks
from deploy_prune.pipeline.deciders import find_selecting_file, find_widths_file
from deploy_prune.pipeline.plan_stage import decide_plan
from deploy_prune.pipeline.preflight import adopt_run_folder, preflight
from deploy_prune.pipeline.publishing import publish
from deploy_prune.records import read_record, sha256, to_json, write_record
from deploy_prune.results import (
    BenchResult,
    CutResult,
    DenseResult,
    PlanResult,
    ProfileResult,
    RunSummary,
    ShipResult,
    TestResult,
    TrainResult,
)
from deploy_prune.run_folder import RunFolder, open_run, read_asked
from deploy_prune.scoring.scores_file import SCORES
from deploy_prune.sources import checkpoint
from deploy_prune.stats import write_briefly
from deploy_prune.train.accelerator import AUTO, choose_accelerator
from deploy_prune.train.guarded_hooks import guard_hooks
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.trust import refuse_untrusted, trust_named
from deploy_prune.values import Progress, quiet, told_in_lines

ROUNDS = "rounds.json"
PLAN = "plan.json"
NOT_ASKED = ("store", "workers", "accelerator")
"""Keys that say where things are and who computes: a run may go on elsewhere, and its records say where stages were."""

DEMO = RunConfig(
    model="mobilenet_v2",
    model_options={"setting": "small", "width": 1.5},
    data="digits",
    pretrain=Recipe(epochs=12, batch_size=64, weight_decay=5e-4, precision="fp32"),
    method="obs",
    budget="latency=0.5x",
    finetune=Recipe(epochs=10, batch_size=64, weight_decay=5e-4, precision="fp32"),
    targets=("tflite", "onnx", "coreml", "executorch"),
)


def prune(
    config: RunConfig,
    out: Path | str,
    *,
    plan: Path | None = None,
    base: FrontBase | None = None,
    hooks: Hooks | None = None,
    progress: Progress = told_in_lines,
) -> RunSummary:
    """Prune a network to a budget, fine-tune, export, verify, time and report, in the folder `out`.

    Args:
        config: what to do; a folder made for another configuration is refused.
        out: the run folder; the same call continues a run that was killed.
        plan: a plan file (edited by hand or not) in place of a method's.
        base: the front that this run belongs to: its dense network is judged, and its images are read, once for all.
        hooks: the caller's own loss, metric, batch step or whole training.
        progress: told how far the long stages are.

    Raises:
        DeployPruneError: see `errors`; what was finished stays.
    """
    with _open_context(config, Path(out), base, hooks, progress, plan=plan) as context:
        _begin(context)
        return _finish(context)


@contextmanager
def _open_context(
    config: RunConfig,
    out: Path,
    base: FrontBase | None,
    hooks: Hooks | None,
    progress: Progress,
    *,
    plan: Path | None = None,
) -> Iterator[RunContext]:
    trust_named(config.code)
    config, hooks = adopt_run_folder(config), find_hooks(config, hooks)
    with open_run(out, describe_asked(config, plan), progress=progress) as folder, keep_export_workshop() as lend_shop:
        context = RunContext(config, folder, hooks, plan, open_shop=lend_shop)
        if base:
            shared = RunFolder(base.folder, progress)
            context = dataclasses.replace(context, base=shared, lend=base.lend, open_shop=base.open_shop)
        with record_what_breaks(context):
            yield context


def train_pruned(
    config: RunConfig, out: Path | str, base: FrontBase, *, hooks: Hooks | None = None, progress: Progress = quiet
) -> TrainResult:
    """`prune` up to the fine-tuned network: the test split is not looked at, nothing is shipped.

    `prune` with the same configuration and folder goes on from there.

    Raises:
        DeployPruneError: see `errors`; what was finished stays.
    """
    with _open_context(config, Path(out), base, hooks, progress) as context:
        _begin(context)
        return _train(context).trained[-1]


def _begin(context: RunContext) -> None:
    """Before the first stage: refuse what cannot succeed, and write down which images the run begins with."""
    if not context.has_begun:
        preflight(context, (context.config.parsed_budget,))
        record_data(context)


@dataclasses.dataclass(frozen=True)
class _Trained:
    """A run up to its fine-tuned network."""

    dense: DenseResult
    plan: PlanResult
    cut: CutResult
    trained: tuple[TrainResult, ...]


def _train(context: RunContext) -> _Trained:
    folder, rounds, budgets = context.folder, _rounds(context), (context.config.parsed_budget,)
    if context.needs_profile:
        (context.base or folder).stage("profiled", ProfileResult, lambda: stages.profile(context, budgets))
    dense = folder.stage("dense", DenseResult, lambda: stages.train_dense(context))
    plan = folder.stage("planning", PlanResult, lambda: decide_plan(context))
    if not (folder.path / PLAN).exists():  # it is made to be edited
        write_record(folder.path / PLAN, plan.plan)
    cut = folder.stage("cut", CutResult, lambda: stages.shrink(context, plan))
    trained = tuple(
        folder.stage(f"trained-{number}", TrainResult, lambda n=number, r=recipe: stages.train(context, n, r))  # type: ignore[misc]
        for number, recipe in enumerate(rounds, start=1)
    )
    return _Trained(dense, plan, cut, trained)


def _finish(context: RunContext) -> RunSummary:
    folder, done = context.folder, _train(context)
    last = len(done.trained)
    test = folder.stage(f"test-{last}", TestResult, lambda: stages.test(context, last))
    ship = folder.stage(f"shipped-{last}", ShipResult, lambda: ship_stage.ship(context, last))
    bench = folder.stage(f"timed-{last}", BenchResult, lambda: stages.time_files(context, last, ship))
    summary = RunSummary(done.dense, done.plan, done.cut, done.trained[-1], test, ship, bench)
    context.record_broken_images()  # the report tells
    publish(folder.path, summary)
    return summary


def finetune(
    run: Path | str,
    *,
    epochs: int | None = None,
    accelerator: str = AUTO,
    hooks: Hooks | None = None,
    progress: Progress = told_in_lines,
) -> RunSummary:
    """One more round of training for a run's pruned network, then export, verify and time it again.

    The same call after an interruption finishes that round; after it is finished, it adds another.

    Raises:
        RecordError: not a run folder, or one that `prune` has not finished.
        ConfigError: another round was begun and is not finished.
        UntrustedCode: the run's records name Python files: see `trust_code`.
        Unavailable: the accelerator is not there.
    """
    run = Path(run)
    asked = read_asked(run)
    choose_accelerator(accelerator)  # before anything is written
    known = {key: asked[key] for key in RunConfig.model_fields if key in asked}
    config = check_config({**known, "accelerator": accelerator})
    refuse_untrusted(config.code)  # before anything is written, too
    recipe = config.finetune or RunConfig.model_fields["finetune"].default
    more = dataclasses.replace(recipe, epochs=epochs or recipe.epochs)
    with (
        open_run(run, asked, progress=progress) as folder,
        record_what_breaks(RunContext(config, folder, find_hooks(config, hooks))) as context,
    ):
        write_record(run / ROUNDS, _with(_rounds(context), more, run), tuple[Recipe | None, ...])
        return _finish(context)


def _with(rounds: tuple[Recipe | None, ...], more: Recipe, run: Path) -> tuple[Recipe | None, ...]:
    """The rounds with one more, or as they are if that one was begun and interrupted."""
    if (run / f"timed-{len(rounds)}.json").exists():
        return *rounds, more
    if len(rounds) == 1:
        raise RecordError(f"{run} is not finished", hint="continue it with the command that began it")
    begun = rounds[-1]
    if begun != more:
        asked = begun.epochs if begun else 0
        message = f"round {len(rounds)} of {run} was begun with {asked} epochs and is not finished"
        raise ConfigError(message, hint=f"finish it first, with --epochs {asked}")
    return rounds


def demo(out: Path | str, *, budget: str = DEMO.budget, progress: Progress = told_in_lines) -> RunSummary:
    """The whole road on embedded data: a small MobileNetV2 on digits, to half its measured milliseconds by OBS.

    Args:
        out: the run folder; the same call continues a run that was killed.
        budget: another budget, such as `0.5x` of the multiply-adds, for a machine that cannot be timed.
        progress: told how far the long stages are.
    """
    return prune(DEMO.model_copy(update={"budget": budget}), out, progress=progress)


def judge(summary: RunSummary) -> None:
    """Raise what a finished run ends a command with: nothing, where all is verified and faster.

    Raises:
        ParityFailed: a pruned file failed.
        TargetMissed: the file of a budget in milliseconds is slower than that.
        NoSpeedUp: a pruned file is not faster than its dense one.
    """
    if summary.outcome == "not verified":
        failed = [f"{row.format}: {row.reason}" for row in summary.ship.pruned if row.status == "failed"]
        hint = "the report has a row per file; the formats that were verified are there"
        raise ParityFailed(f"not every format was shipped: {'; '.join(failed)}", hint=hint)
    if summary.missed_by:
        closing, shipped = summary.plan.closing, summary.shipped_time
        assert closing
        assert shipped
        taken, limit = write_briefly(shipped[0]), write_briefly(closing.limit)
        message = f"the shipped file takes {taken} {closing.unit}, {summary.missed_by:.1%} more than {limit}"
        raise TargetMissed(message, hint="its plan was timed before training: see the report; try a smaller budget")
    if summary.outcome == "no speed-up":
        names = ", ".join(map(name_timed, summary.not_faster))
        hint = "narrow layers may sit just above a step of the kernel: try --multiple 16 or a smaller budget"
        raise NoSpeedUp(f"pruned, but not faster: {names}", hint=hint)


def _rounds(context: RunContext) -> tuple[Recipe | None, ...]:
    path = context.folder.path / ROUNDS
    if not path.exists():
        return (context.config.finetune,)
    rounds: tuple[Recipe | None, ...] = read_record(path, tuple[Recipe | None, ...])
    return rounds


def describe_asked(config: RunConfig, plan: Path | None = None) -> dict[str, Any]:
    """What decides the result: the configuration, and the files it names."""
    model = Path(config.model)
    pruned = checkpoint.final_network(model) / checkpoint.NETWORK if model.is_dir() else None
    ranked = config.scores / SCORES if config.scores and config.scores.is_dir() else config.scores
    files = {
        "weights": config.weights,
        "plan": plan,
        "model": pruned,
        "scores": ranked,
        "widths": find_widths_file(config),
        "select": find_selecting_file(config),
    }
    digests = {f"{key}_sha256": sha256(path) for key, path in files.items() if path is not None and path.is_file()}
    settings = {key: value for key, value in to_json(config).items() if key not in NOT_ASKED}
    return {**settings, **digests}


def find_hooks(config: RunConfig, hooks: Hooks | None) -> Hooks:
    """The caller's callables, or those that the configuration names; what fails in them is told as theirs."""
    if hooks is None:
        named = {key: address for key, address in config.hooks.model_dump().items() if address is not None}
        hooks = Hooks(**{key: plugins.fetch_user_object(address) for key, address in named.items()})
    return guard_hooks(hooks)

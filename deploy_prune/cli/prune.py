"""`deploy-prune prune`: from a network, data and a budget to a run folder with verified files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy_prune.cli.flags import Flag, read_flags
from deploy_prune.cli.options import Epochs, Json, parse_names
from deploy_prune.cli.output import make_error_record, say, show_json, show_progress, show_table
from deploy_prune.errors import ConfigError, NoSpeedUp, ParityFailed, TargetMissed
from deploy_prune.stats import write_percent, write_with_interval

if TYPE_CHECKING:
    from deploy_prune.pipeline.config import RunConfig
    from deploy_prune.results import DenseResult, RunSummary
    from deploy_prune.search_results import DropSearch, Front, FrontPoint

OptionalModel = Annotated[
    str | None, typer.Argument(metavar="MODEL|RUN", help="torchvision:NAME, file.py:factory, or a run folder.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="run.toml, or a run folder: its settings; flags override them."),
]
Heads = Annotated[int | None, typer.Option("--heads", min=0, help="Small classifiers that dcp and dkp place evenly.")]
Epsilon = Annotated[
    float | None,
    typer.Option("--epsilon", help="dcp and dkp stop where the loss changes less; widths are upper bounds."),
]
MaxDrop = Annotated[
    float | None,
    typer.Option("--max-drop", metavar="POINTS", help="The fastest network that loses at most so many points."),
]
NoControls = Annotated[bool, typer.Option("--no-controls", help="A front without uniform widths and smaller images.")]
NoFinetune = Annotated[bool, typer.Option("--no-finetune", help="Cut and ship; train elsewhere.")]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="A plan.json, edited by hand or not.")]
Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run folder; the same command continues it.")]


FLAGS = (
    Flag("data", "NAME[:PATH]"),
    Flag("task"),
    Flag("weights", "FILE"),
    Flag("classes"),
    Flag("input_shape", "C,H,W"),
    Flag("model_options", "KEY=VALUE", "Repeatable.", "--option"),
    Flag("budget", more="Several (8ms,6ms) make a front."),
    Flag("method"),
    Flag("method_options", "KEY=VALUE", "Repeatable.", "--method-option"),
    Flag("scores", "RUN"),
    Flag("widths", "METHOD|RUN"),
    Flag("widths_options", "KEY=VALUE", "Repeatable.", "--widths-option"),
    Flag("select", "METHOD|RUN"),
    Flag("select_options", "KEY=VALUE", "Repeatable.", "--select-option"),
    Flag("refit"),
    Flag("refit_images", "N"),
    Flag("multiple"),
    Flag("scope"),
    Flag("workers", "N|ray"),
    Flag("accelerator", "NAME"),
    Flag("targets", "NAMES", spelled="--target"),
    Flag("threads", "N,..."),
    Flag("runtime"),
    Flag("device"),
    Flag("store", "FILE"),
    Flag("seed"),
)
"""The fields of the configuration that differ from run to run; `__main__` gives the verb their flags."""


def prune(
    *,
    model: OptionalModel = None,
    config: Config = None,
    heads: Heads = None,
    epsilon: Epsilon = None,
    max_drop: MaxDrop = None,
    no_controls: NoControls = False,
    epochs: Epochs = None,
    no_finetune: NoFinetune = False,
    plan: PlanFile = None,
    out: Out = Path("run"),
    as_json: Json = False,
    **settings: Any,
) -> int:
    """Prune a network to a budget and ship it.

    Trains, scores, cuts, fine-tunes, exports, verifies, times and reports, and keeps every step in the run folder.
    """
    overrides = read_flags(FLAGS, settings)
    budgets = parse_names(overrides.get("budget")) or ()
    own = {"model": model, "budget": budgets[0] if budgets else None}
    overrides |= {key: value for key, value in own.items() if value is not None}
    overrides |= _merge_method_options(overrides, heads=heads, epsilon=epsilon)
    overrides |= _choose_finetuning(epochs, no_finetune)
    several = len(budgets) > 1
    _check_together(plan=plan, several=several, max_drop=max_drop)
    if several:
        return run_front(config, overrides, budgets, out, controls=not no_controls, as_json=as_json)
    if max_drop is not None:
        return run_drop(config, overrides, max_drop, out, as_json=as_json)
    return run(config, overrides, out, plan=plan, as_json=as_json)


def _check_together(*, plan: Path | None, several: bool, max_drop: float | None) -> None:
    if plan is not None and (several or max_drop is not None):
        message = "a plan is one network: it goes with neither several budgets nor --max-drop"
        raise ConfigError(message, hint="give one budget, or leave --plan out")
    if several and max_drop is not None:
        message = "several budgets and --max-drop contradict each other"
        raise ConfigError(
            message, hint="with --max-drop give one budget, the tightest: larger ones are tried from there"
        )


def _merge_method_options(overrides: Mapping[str, Any], **own_flags: float | None) -> dict[str, Any]:
    """The method's options with those that have a flag of their own; nothing where none are given."""
    given = {key: value for key, value in own_flags.items() if value is not None}
    return {"method_options": {**overrides.get("method_options", {}), **given}} if given else {}


def run(config: Path | None, overrides: dict[str, Any], out: Path, *, plan: Path | None, as_json: bool) -> int:
    """Prune with a configuration and show the report."""
    from deploy_prune.pipeline.config import load_config
    from deploy_prune.pipeline.run import prune as prune_network

    settings = load_config(config, overrides)
    with show_progress(as_json=as_json) as told:
        summary = prune_network(settings, out, plan=plan, progress=told)
    return show_run(out, summary, as_json=as_json)


def run_front(
    config: Path | None,
    overrides: dict[str, Any],
    budgets: tuple[str, ...],
    out: Path,
    *,
    controls: bool,
    as_json: bool,
) -> int:
    """Prune to several budgets and show the front."""
    from deploy_prune.pipeline.config import load_config
    from deploy_prune.pipeline.front import front
    from deploy_prune.records import read_record
    from deploy_prune.results import DenseResult

    settings = load_config(config, overrides)
    with show_progress(as_json=as_json) as told:
        result = front(settings, budgets, out, controls=controls, progress=told)
    if as_json:
        show_json(run=str(out), front=result)
    else:
        show_front(result)
        show_caution(read_record(out / "dense.json", DenseResult))
    return 0


def show_front(front: Front) -> None:
    """A row per network, fastest last."""
    columns = (
        "network",
        "budget",
        f"{front.unit} [95 %]",
        "time / dense",
        f"{front.quality} test [95 %]",
        "MACs",
        "run",
    )
    rows = sorted(front.points, key=lambda point: -(point.ratio or 0))
    show_table(f"{front.model} on {front.data}, {front.method}", columns, [_make_row(row) for row in rows])


def _make_row(row: FrontPoint) -> tuple[str, ...]:
    time = "not timed" if row.ratio is None else "-"
    if row.latency_ms is not None and row.latency_interval_ms is not None:
        time = write_with_interval(row.latency_ms, row.latency_interval_ms)
    ratio = "-" if row.ratio is None else f"{row.ratio:.3f}x"
    low, high = row.test_interval
    quality = f"{write_percent(row.test)} [{write_percent(low, 1)}, {write_percent(high, 1)}]"
    return row.kind, row.budget or "-", time, ratio, quality, f"{row.macs:,}", row.run


def show_caution(dense: DenseResult) -> None:
    """What to know before believing the qualities above, as the last line: by then a warning has scrolled away."""
    if dense.caution:
        say(dense.caution)


def run_drop(config: Path | None, overrides: dict[str, Any], points: float, out: Path, *, as_json: bool) -> int:
    """Find the fastest network that loses little, and show it."""
    from deploy_prune.pipeline.config import load_config
    from deploy_prune.pipeline.max_drop import within_drop

    settings: RunConfig = load_config(config, overrides)
    with show_progress(as_json=as_json) as told:
        search, summary = within_drop(settings, points, out, progress=told)
    if not as_json:
        show_drop(search)
    return show_run(out / search.found, summary, as_json=as_json)


def show_drop(search: DropSearch) -> None:
    """Every budget that was tried."""
    rows = [(row.budget, f"{row.lost_points:.2f}", f"{row.seconds:.0f}", row.run) for row in search.tries]
    dense = f"{search.quality} {write_percent(search.dense_val)}"
    title = f"At most {search.allowed_points:g} points below {dense} on validation: {search.found}"
    show_table(title, ("budget", "points lost", "training s", "run"), rows)


def show_run(folder: Path, summary: RunSummary, *, as_json: bool) -> int:
    """What became of a run: its summary as JSON, or its report; the exit code is the pipeline's verdict.

    Raises:
        ParityFailed, TargetMissed, NoSpeedUp: the verdict, after the report.
    """
    from deploy_prune.analysis.report import report
    from deploy_prune.pipeline.run import judge

    if not as_json:
        say(report(folder))
        show_caution(summary.dense)
        judge(summary)
        return 0
    results = {"run": str(folder), "outcome": summary.outcome, "summary": summary}
    try:
        judge(summary)
    except (NoSpeedUp, ParityFailed, TargetMissed) as verdict:
        # Summary and verdict are one object: stdout holds one JSON document, whatever the outcome.
        show_json(**results, error=make_error_record(verdict))
        return verdict.exit_code
    show_json(**results)
    return 0


def _choose_finetuning(epochs: int | None, no_finetune: bool) -> dict[str, Any]:
    if no_finetune and epochs is not None:
        raise ConfigError("--no-finetune and --epochs contradict each other", hint="choose one")
    if no_finetune:
        return {"finetune": None}
    return {} if epochs is None else {"finetune": {"epochs": epochs}}

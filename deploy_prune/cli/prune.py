"""`deploy-prune prune`: from a network, data and a budget to a run folder with verified files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy_prune.cli.options import (
    Classes,
    DataAddress,
    Device,
    Epochs,
    InputShape,
    Json,
    ModelOptions,
    Runtime,
    Seed,
    StoreFile,
    Targets,
    Threads,
    Weights,
    image_shape,
    integers,
    model_options,
    name_list,
)
from deploy_prune.cli.output import error_record, progress, show_json
from deploy_prune.errors import ConfigError, NoSpeedUp, ParityFailed, TargetMissed

if TYPE_CHECKING:
    from deploy_prune.results import RunSummary

OptionalModel = Annotated[
    str | None, typer.Argument(metavar="MODEL|RUN", help="torchvision:NAME, file.py:factory, or a run folder.")
]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="run.toml; flags override it.")]
Budget = Annotated[str | None, typer.Option("--budget", help="5ms, 0.5x, 150MMACs, params=1.2M, latency=0.5x.")]
Method = Annotated[str | None, typer.Option("--method", help="magnitude, uniform, random.")]
Multiple = Annotated[int | None, typer.Option("--multiple", min=1, help="Widths are multiples of this.")]
Scope = Annotated[str | None, typer.Option("--scope", help="full, or inner: keep the residual stream whole.")]
NoFinetune = Annotated[bool, typer.Option("--no-finetune", help="Cut and ship; train elsewhere.")]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="A plan.json, edited by hand or not.")]
Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run folder; the same command continues it.")]


def prune(
    model: OptionalModel = None,
    config: Config = None,
    data: DataAddress = None,
    weights: Weights = None,
    classes: Classes = None,
    input_shape: InputShape = None,
    option: ModelOptions = None,
    budget: Budget = None,
    method: Method = None,
    multiple: Multiple = None,
    scope: Scope = None,
    epochs: Epochs = None,
    no_finetune: NoFinetune = False,
    plan: PlanFile = None,
    target: Targets = None,
    threads: Threads = None,
    runtime: Runtime | None = None,
    device: Device | None = None,
    store: StoreFile = None,
    seed: Seed = None,
    out: Out = Path("run"),
    as_json: Json = False,
) -> int:
    """Prune a network to a budget and ship it.

    Trains, scores, cuts, fine-tunes, exports, verifies, times and reports, and keeps every step in the run folder.
    """
    flags = {
        "model": model,
        "data": data,
        "weights": None if weights is None else str(weights),
        "classes": classes,
        "input_shape": image_shape(input_shape),
        "model_options": model_options(option) or None,
        "budget": budget,
        "method": method,
        "multiple": multiple,
        "scope": scope,
        "targets": name_list(target),
        "threads": integers("--threads", threads),
        "runtime": runtime,
        "device": device,
        "store": None if store is None else str(store),
        "seed": seed,
    }
    overrides = {key: value for key, value in flags.items() if value is not None}
    return run(config, overrides | _finetuning(epochs, no_finetune), out, plan=plan, as_json=as_json)


def run(config: Path | None, overrides: dict[str, Any], out: Path, *, plan: Path | None, as_json: bool) -> int:
    """Prune with a configuration and show the report."""
    from deploy_prune.config import load_config
    from deploy_prune.pipeline import prune as prune_network

    settings = load_config(config, overrides)
    with progress(as_json=as_json) as told:
        summary = prune_network(settings, out, plan=plan, progress=told)
    return show_run(out, summary, as_json=as_json)


def show_run(folder: Path, summary: RunSummary, *, as_json: bool) -> int:
    """What became of a run: its summary as JSON, or its report; the exit code is the pipeline's verdict.

    Raises:
        ParityFailed, TargetMissed, NoSpeedUp: the verdict, after the report.
    """
    from deploy_prune.pipeline import judge
    from deploy_prune.reporting import report

    if not as_json:
        typer.echo(report(folder))
        judge(summary)
        return 0
    results = {"run": str(folder), "outcome": summary.outcome, "summary": summary}
    try:
        judge(summary)
    except (NoSpeedUp, ParityFailed, TargetMissed) as verdict:
        # Summary and verdict are one object: stdout holds one JSON document, whatever the outcome.
        show_json(**results, error=error_record(verdict))
        return verdict.exit_code
    show_json(**results)
    return 0


def _finetuning(epochs: int | None, no_finetune: bool) -> dict[str, Any]:
    if no_finetune and epochs is not None:
        raise ConfigError("--no-finetune and --epochs contradict each other", hint="choose one")
    if no_finetune:
        return {"finetune": None}
    return {} if epochs is None else {"finetune": {"epochs": epochs}}

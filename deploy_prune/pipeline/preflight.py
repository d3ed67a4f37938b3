"""What is refused before any work is done: whatever cannot succeed, the cheapest to find out first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.budget.allocate import check_reachable
from deploy_prune.budget.latency.place import check_device
from deploy_prune.budget.parse import check_unit, in_units
from deploy_prune.errors import ConfigError
from deploy_prune.exporting.exporters import EXPORTERS
from deploy_prune.pipeline.config import RunConfig, check_config
from deploy_prune.pipeline.context import RunContext, read_plan, start_network
from deploy_prune.pipeline.deciders import build_deciders, build_workers, check_labels
from deploy_prune.pipeline.priced import another_device, build_cost, is_timed
from deploy_prune.run_folder import LATER_KEYS, RUN, read_asked
from deploy_prune.scoring.best_scored import SELECTING, BestScored
from deploy_prune.scoring.scores_file import SCORES, find_scores
from deploy_prune.sources import checkpoint
from deploy_prune.sources.addresses import refuse_path, split_address
from deploy_prune.sources.data import check_fit
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.sources.models import MODELS
from deploy_prune.sources.open import refuse_given
from deploy_prune.timing.devices import is_address
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.train.targets import check_outputs
from deploy_prune.trust import refuse_untrusted
from deploy_prune.values import Budget, Network


def preflight(context: RunContext, budgets: Sequence[Budget]) -> None:
    """Refuse what cannot succeed before any work is done, what is cheap to find out first; nothing is measured.

    Args:
        context: the run, of which nothing is done yet.
        budgets: the run's own, or those of all runs of a front, which are of one cost.

    Raises:
        ConfigError: a device that is none, or outputs of the network that its task cannot judge.
        UnknownName: a model, data source, method, cost or target that does not exist.
        MissingDependency: a target's converter is not installed, or its runtime not on the device that times it.
        UnitError: a budget is in another unit than its cost.
        Unavailable: the accelerator or the device that is asked for is not there.
        DataError: the data cannot be read, are not for this network, or lack the labels that a method needs.
        WeightsError: the weights are not for this network.
        BudgetError: no plan can meet a budget; in milliseconds of a device at hand, profiling finds that out.
        PlanError: the given plan does not fit the network.
        RecordError: a run whose scores are to be taken has none.
    """
    config = context.config
    check_device(config.device, config.store)
    _refuse_unused_table(config)
    unit = build_cost(config).unit
    for budget in budgets:
        check_unit(budget, unit)
    for target in config.targets:
        plugins.build(EXPORTERS, target).version()
    _check_runtimes_there(config)
    _check_scores(context)
    build_workers(config, context.accelerator)
    if not Path(config.model).is_dir():
        refuse_path(MODELS, config.model)
        plugins.load(MODELS, split_address(config.model)[0])
    refuse_path(DATASETS, config.data)
    plugins.load(DATASETS, split_address(config.data)[0])
    network = start_network(context)
    check_fit(network, context.data)
    _check_task(context, network)
    if context.plan_file is not None:
        read_plan(context, network)
    elif not is_timed(config):
        check_budgets(context, budgets)


def _check_runtimes_there(config: RunConfig) -> None:
    """Refuse another device that cannot be reached, or that lacks what runs the files that are to be timed there."""
    device = another_device(config)
    if device is None or not config.threads:
        return
    for target in config.targets:
        runtime = plugins.build(EXPORTERS, target).runtime
        if not plugins.load(RUNTIMES, runtime).untimed:
            device.runtime_version(runtime)


def _check_scores(context: RunContext) -> None:
    """Refuse methods that do not go together, and scores from elsewhere that are not there, nor in the run already."""
    scorer, selector = build_deciders(context.config)
    selecting = selector.scorer if isinstance(selector, BestScored) else None
    for path, own in ((scorer, SCORES), (selecting, SELECTING)):
        if isinstance(path, Path) and not (context.folder.path / own).exists():
            find_scores(path)


def _refuse_unused_table(config: RunConfig) -> None:
    """Refuse a device whose table no budget asks for: its files would be timed on this machine, without a word."""
    if config.parsed_budget.cost != "latency" and not is_address(config.device):
        message = f"a latency table of device '{config.device}' says nothing about the budget {config.budget}"
        raise ConfigError(message, hint="give a budget in milliseconds, such as latency=0.5x, or leave --device out")


def check_budgets(context: RunContext, budgets: Sequence[Budget]) -> None:
    """Refuse budgets that no plan can meet.

    Raises:
        BudgetError: the dense network meets one already, or even the smallest network costs more.
    """
    price = context.price
    for budget in budgets:
        limit = in_units(budget, price.dense, price.unit)
        check_reachable(context.graph, price.cost, limit, context.limits, unit=price.unit)


def _check_task(context: RunContext, network: Network) -> None:
    """Refuse a task, a method or a training of the dense network that needs labels, where there are none.

    Outputs of the network that the task cannot judge are refused as well.
    """
    if context.plan_file is None or context.config.select is not None:
        check_labels(context.config, context.data)
    if not context.task.needs_labels and context.config.pretrain and context.hooks.fit is None:
        message = f"[pretrain] needs labels, and the task of this run on {context.data.name} takes none"
        raise ConfigError(message, hint="give the dense network's trained weights (--weights FILE)")
    check_outputs(network, context.tasked, context.data)


def adopt_run_folder(config: RunConfig) -> RunConfig:
    """The configuration with what a run folder as the model brings along: its input's shape, its data and its task.

    Raises:
        ConfigError: a setting that the run folder has decided already.
        UntrustedCode: the run folder's data are of a Python file.
    """
    run = Path(config.model)
    if not run.is_dir():
        return config
    refuse_given(run, {key: dict(config)[key] for key in ("classes", "input_shape", "weights", "model_options")})
    own = {"input_shape": checkpoint.description(run).input_shape}
    if "data" not in config.model_fields_set and (run / RUN).is_file():
        asked = {**LATER_KEYS, **read_asked(run)}
        taken = ("data", "data_options") if "task" in config.model_fields_set else ("data", "data_options", "task")
        own |= {key: asked[key] for key in taken if key in asked}
    adopted = check_config({**dict(config), **own})
    refuse_untrusted((adopted.data,))
    return adopted

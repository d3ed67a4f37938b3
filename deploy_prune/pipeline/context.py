"""What every stage of a run works with, and what is refused before any of it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from deploy_prune import plugins
from deploy_prune.budget.allocate import check_reachable
from deploy_prune.budget.costs import COSTS, Cost, CostModel
from deploy_prune.budget.latency.profiling import LOCAL, Place, format_of, profiled
from deploy_prune.budget.latency.store import opened
from deploy_prune.budget.parse import in_units, parse
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import ConfigError, DataError, PlanError
from deploy_prune.exporting.exporters import EXPORTERS
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import check
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.processes.workers import WORKERS, Workers
from deploy_prune.records import read_record, write_record
from deploy_prune.run_folder import FORM, RUN, SPLITS, RunFolder, asked_for
from deploy_prune.scoring.methods import METHODS, Scorer, Selector
from deploy_prune.scoring.scores_file import SCORES
from deploy_prune.sources import checkpoint
from deploy_prune.sources.data import check_fit, form_of, read_data, splits_of
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.sources.models import MODELS
from deploy_prune.sources.networks import build_network, split_address
from deploy_prune.sources.weights import load_weights
from deploy_prune.train import Hooks
from deploy_prune.train.accelerator import CPU, choose_accelerator, move_network
from deploy_prune.values import ChannelGraph, Data, Keep, Network, Plan, Progress, SplitRecord


@dataclass(frozen=True, eq=False)
class RunContext:
    """What every stage of one run works with."""

    config: RunConfig
    folder: RunFolder
    hooks: Hooks
    plan_file: Path | None = None
    base: RunFolder | None = None
    """Of a front: where the dense network that this run goes on from is judged, once for all runs."""

    @property
    def progress(self) -> Progress:
        """Told how far the long stages are."""
        return self.folder.progress

    @cached_property
    def data(self) -> Data:
        """Read once, and only if a stage needs it; the splits are those that the run began with.

        Raises:
            DataError: what is read now is not what the run began with.
        """
        size = self.config.input_shape[1:] if self.config.input_shape else None
        data = read_data(self.config.data, size=size, options=self.config.data_options)
        if self.base is not None:
            _hold(self.base.path / SPLITS, data)
        if (self.folder.path / "dense.json").exists():
            _hold(self.folder.path / SPLITS, data)
        else:
            write_record(self.folder.path / SPLITS, splits_of(data), dict[str, SplitRecord])
            write_record(self.folder.path / FORM, form_of(data))
        return data

    @cached_property
    def graph(self) -> ChannelGraph:
        """Of the network that is pruned, with every baked-in size locked."""
        return settle(start(self))

    @cached_property
    def accelerator(self) -> torch.device:
        """Where networks are trained and judged.

        Raises:
            Unavailable: the accelerator that the configuration names is not there.
        """
        return choose_accelerator(self.config.accelerator)

    @property
    def limits(self) -> Limits:
        """What a plan may do to a group."""
        return Limits(floor=self.config.floor, multiple=self.config.multiple, scope=self.config.scope)

    def network(self, name: str) -> Network:
        """A checkpoint of this run, on the run's accelerator."""
        return move_network(checkpoint.load(self.folder.path / name), self.accelerator)


def _hold(record: Path, data: Data) -> None:
    """Refuse images or splits that have changed since the run began."""
    found, began_with = splits_of(data), read_record(record, dict[str, SplitRecord])
    for name, split in began_with.items():
        if found[name] != split:
            message = f"{data.name} has changed since the run began: {name} had {split.images} images, now other ones"
            raise DataError(message, hint="put the images back, or give another --out")


def settled(config: RunConfig) -> RunConfig:
    """The configuration with what a run folder as the model brings along: its input's shape, and its data.

    Raises:
        ConfigError: a setting that the run folder has decided already.
    """
    run = Path(config.model)
    if not run.is_dir():
        return config
    for key in ("classes", "input_shape", "weights", "model_options"):
        if dict(config)[key]:
            raise ConfigError(f"{run} is a run folder, which has its own {key}", hint=f"leave out {key}")
    found = {"input_shape": checkpoint.description(run).input_shape}
    if "data" not in config.model_fields_set and (run / RUN).is_file():
        found |= {key: asked_for(run)[key] for key in ("data", "data_options")}
    return RunConfig.model_validate({**dict(config), **found})


def start(work: RunContext) -> Network:
    """The network as the configuration names it, before any training."""
    config = work.config
    if Path(config.model).is_dir():
        return checkpoint.load(Path(config.model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(
            config.model,
            classes=config.classes or len(work.data.classes),
            input_shape=config.input_shape or work.data.image_shape,
            options=config.model_options,
        )
    return network if config.weights is None else load_weights(network, config.weights)


def preflight(work: RunContext) -> None:
    """Refuse what cannot succeed before any work is done, what is cheap to find out first.

    Raises:
        UnknownName: a model, data source, method, cost or target that does not exist.
        MissingDependency: a target's converter is not installed.
        Unavailable: the accelerator that is asked for is not there.
        DataError: the data cannot be read, or are not for this network.
        WeightsError: the weights are not for this network.
        BudgetError: no plan can meet the budget.
        PlanError: the given plan does not fit the network.
    """
    config = work.config
    cost_plugin(config)
    for target in config.targets:
        plugins.build(EXPORTERS, target).version()
    deciders(config)
    workers_of(config, work.accelerator)
    if not Path(config.model).is_dir():
        plugins.load(MODELS, split_address(config.model)[0])
    plugins.load(DATASETS, split_address(config.data)[0])
    check_fit(start(work), work.data)
    if work.plan_file is not None:
        plan_by_hand(work, start(work))
        return
    if parse(config.budget).cost == "latency" and config.device == LOCAL:
        with opened(config.store) as store:
            profiled(start(work), work.graph, place_of(config), store, progress=work.progress)
    cost, limit = priced(work, work.graph)
    check_reachable(work.graph, cost, limit, work.limits)


def place_of(config: RunConfig) -> Place:
    """What a budget in milliseconds is of."""
    return Place(config.runtime, config.device, next(iter(config.threads), 1))


def workers_of(config: RunConfig, accelerator: torch.device = CPU) -> Workers:
    """The workers that `2` (processes of this machine), `ray` or `ray:4` name; a GPU has one unless a number is given.

    Raises:
        UnknownName: no such workers.
        ConfigError: not a number of processes, or workers that do not share this accelerator.
    """
    text = f"local:{config.workers}" if config.workers.isdigit() else config.workers
    name, _, count = text.partition(":")
    if count and not count.isdigit():
        raise ConfigError(f"'{config.workers}' names no workers", hint="write 4, ray or ray:4")
    on_gpu = accelerator != CPU
    if on_gpu and name == "ray":
        hint = "give --accelerator cpu, or leave --workers out: one process keeps a GPU busy"
        raise ConfigError(f"workers 'ray' compute on the CPU alone, the run is on {accelerator.type}", hint=hint)
    processes = int(count) if count else int(on_gpu)
    built: Workers = plugins.build(WORKERS, name, {"processes": processes} if processes else {})
    return built


def deciders(config: RunConfig) -> tuple[Scorer | Path, Selector | None]:
    """What decides how many units every group keeps, and what selects which; None: the best-scored ones.

    Raises:
        UnknownName: no such method.
        ConfigError: a method that scores has widths from elsewhere, or widths come from one that does not score.
    """
    method = plugins.build(METHODS, config.method, config.method_options)
    selector = method if isinstance(method, Selector) else None
    if isinstance(method, Scorer):
        if config.widths != RunConfig.model_fields["widths"].default or config.widths_options:
            hint = "--widths is for methods that only select: dcp, dkp"
            raise ConfigError(f"method '{config.method}' decides widths by itself", hint=hint)
        return config.scores or method, selector
    if config.scores is not None:
        return config.scores, selector
    if (ranked := widths_file(config)) is not None:
        return ranked, selector
    scorer = plugins.build(METHODS, config.widths, config.widths_options)
    if not isinstance(scorer, Scorer):
        raise ConfigError(f"method '{config.widths}' does not decide widths", hint="try --widths uniform")
    return scorer, selector


def widths_file(config: RunConfig) -> Path | None:
    """The scores that decide widths, where `widths` names a run folder or a file; None: it names a method.

    Raises:
        ConfigError: `legr:RUN`, and that run's widths are not by `legr`.
    """
    if config.widths in plugins.names(METHODS):
        return None
    method, _, named = config.widths.partition(":")
    known = method in plugins.names(METHODS)
    path = Path(named if known else config.widths)
    if not path.exists():
        return None
    if known and path.is_dir():
        made = asked_for(path)
        if method not in (made.get("method"), made.get("widths")):
            message = f"the widths of {path} are by '{made.get('method')}', not by '{method}'"
            raise ConfigError(message, hint=f"--widths {path} takes them as they are")
    return path / SCORES if path.is_dir() else path


def cost_plugin(config: RunConfig) -> Cost:
    """What the budget is of.

    Raises:
        UnknownName: no such cost, or no such runtime.
    """
    name, options = parse(config.budget).cost, {}
    if name == "latency":
        format_of(config.runtime)
        options = {**vars(place_of(config)), "store": config.store}
    built: Cost = plugins.build(COSTS, name, options)
    return built


def plan_by_hand(work: RunContext, network: Network) -> Keep:
    """What the plan file keeps of a network, in that network's own unit numbers.

    Raises:
        RecordError: not a plan.
        PlanError: it does not fit the network, or removes nothing.
    """
    assert work.plan_file
    keep = checkpoint.in_own_numbers(network, read_record(work.plan_file, Plan).keep)
    check(work.graph, keep)
    width = {group.name: group.width for group in work.graph.groups}
    if all(len(units) == width[name] for name, units in keep.items()):
        raise PlanError(f"{work.plan_file} removes nothing", hint="leave out the numbers of units to remove")
    return keep


def priced(work: RunContext, graph: ChannelGraph) -> tuple[CostModel, float]:
    """The budget's cost of this network, and its limit in the cost's unit."""
    budget = parse(work.config.budget)
    cost = cost_plugin(work.config)
    model = cost.model(graph)
    return model, in_units(budget, cost_of(model, graph, {}), cost.unit)


def cost_of(cost: CostModel, graph: ChannelGraph, keep: Mapping[str, Sequence[int]]) -> float:
    """The cost of what is kept; a group that is not named stays whole."""
    widths = [len(keep[group.name]) if group.name in keep else group.width for group in graph.free]
    return float(cost(np.array(widths)))

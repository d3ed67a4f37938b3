"""What every stage of a run works with: the configuration, the folder, the data, and the network's channel graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from deploy_prune.budget.widths import Limits
from deploy_prune.errors import PlanError
from deploy_prune.exporting.export import OpenShop, open_export_workshop
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import check
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.priced import Price, build_cost, is_timed, price
from deploy_prune.pipeline.run_images import (
    count_broken,
    read_run_images,
    record_broken,
    record_images,
    refuse_other_images,
)
from deploy_prune.records import read_record, write_record
from deploy_prune.run_folder import FORM, RunFolder, is_begun
from deploy_prune.scoring.scores_file import SCORES
from deploy_prune.sources import checkpoint
from deploy_prune.sources.data import describe_form
from deploy_prune.sources.open import open_network
from deploy_prune.sources.unit_numbers import in_own_numbers
from deploy_prune.train.accelerator import choose_accelerator, move_network
from deploy_prune.train.recipe import Hooks
from deploy_prune.train.tasks import Task, choose_task
from deploy_prune.values import ChannelGraph, Data, Keep, Network, Plan, Progress

OTHER_PLAN = "write it again, or give another --plan"
"""What to do about a damaged plan that the user has given."""


def read_own_images(config: RunConfig, folders: Sequence[Path]) -> Data:
    """Read the images that a configuration asks for; folders of the run and of its front say what was broken."""
    size = config.input_shape[1:] if config.input_shape else None
    return read_run_images(config.data, config.data_options, size, folders)


@dataclass(frozen=True)
class FrontBase:
    """What the runs of a front have in common."""

    folder: Path
    """The folder of the front, where the dense network is that every run goes on from, and is judged once."""
    lend: Callable[[], Data]
    """Gives the images, which are read once."""
    open_shop: OpenShop = open_export_workshop
    """Opens, or lends, what they export in."""


@dataclass(frozen=True, eq=False)
class RunContext:
    """What every stage of one run works with."""

    config: RunConfig
    folder: RunFolder
    hooks: Hooks
    plan_file: Path | None = None
    base: RunFolder | None = None
    """The folder of a front, where the dense network that this run goes on from is judged once for all its runs."""
    lend: Callable[[], Data] | None = None
    """Gives the images where a front has read them for all its runs; None: they are read here."""
    open_shop: OpenShop = open_export_workshop
    """Opens what networks are exported in; one is lent to all exports of a run or a front."""
    opened: dict[Data, int] = dataclasses.field(default_factory=dict)
    """The images, once they are read -> how many of them were written down as broken."""

    @property
    def progress(self) -> Progress:
        """Told how far the long stages are; images that were found broken meanwhile are written down first."""

        def tell(task: str, done: int, total: int, note: str = "") -> None:
            self.record_broken_images()
            self.folder.progress(task, done, total, note)

        return tell

    def record_broken_images(self) -> None:
        """Write down which images were found broken since, if any stage has read images."""
        for data, recorded in self.opened.items():
            known = count_broken(data)
            if known != recorded:
                for folder in [each.path for each in (self.base, self.folder) if each]:
                    record_broken(folder, data)
                self.opened[data] = known

    @cached_property
    def data(self) -> Data:
        """The images, read once and only if a stage needs them; those that the run began with.

        Raises:
            DataError: what is read now is not what the run began with.
        """
        folders = [self.base.path] if self.base else []
        folders += [self.folder.path] if is_begun(self.folder.path) else []
        data = self.lend() if self.lend else read_own_images(self.config, folders)
        for folder in folders:
            if folder != self.folder.path or self.has_begun:
                refuse_other_images(folder, data)
        self.opened[data] = 0
        return data

    @cached_property
    def task(self) -> Task:
        """What the network is for.

        Raises:
            UnknownName: no such task.
            DataError: the task needs labels, and the images have none.
        """
        return choose_task(self.config.task, self.data, start_network(self).classes)

    @property
    def tasked(self) -> Hooks:
        """The caller's hooks with the run's task."""
        return dataclasses.replace(self.hooks, task=self.task)

    @property
    def against_dense(self) -> Hooks:
        """Those hooks, with the run's dense network where the task holds every network against it."""
        return self.tasked if self.task.needs_labels else self.taught_by_dense

    @property
    def taught_by_dense(self) -> Hooks:
        """Those hooks with the run's dense network as the teacher."""
        return dataclasses.replace(self.tasked, teacher=self.network("dense"))

    @property
    def has_begun(self) -> bool:
        """Whether the first stage is done; what can be refused was refused before."""
        return (self.folder.path / "dense.json").exists()

    @property
    def needs_profile(self) -> bool:
        """Whether the network is timed at many widths before it is planned: not for a plan by hand or a made one."""
        is_planned = any((self.folder.path / name).exists() for name in ("planning.json", SCORES))
        return is_timed(self.config) and self.plan_file is None and not is_planned

    @cached_property
    def graph(self) -> ChannelGraph:
        """The channel graph of the network that is pruned, with every baked-in size locked."""
        return settle(start_network(self))

    @cached_property
    def price(self) -> Price:
        """What plans of this network cost and may cost; milliseconds are those of the store when this is first asked.

        Raises:
            NotProfiled, Inconclusive: the store has no table of this network that is of use.
        """
        return price(self.config.parsed_budget, build_cost(self.config), self.graph)

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


@contextmanager
def record_what_breaks(context: RunContext) -> Iterator[RunContext]:
    """Write down at the end, however it ends, which images were found broken."""
    try:
        yield context
    finally:
        context.record_broken_images()


def record_data(context: RunContext) -> None:
    """Write down which images each split begins with, and what the app that uses the network has to know of them."""
    record_images(context.folder.path, context.data)
    write_record(context.folder.path / FORM, describe_form(context.data))


def start_network(context: RunContext) -> Network:
    """The network as the configuration names it, before any training."""
    config = context.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return open_network(
            config.model,
            classes=config.classes,
            input_shape=config.input_shape,
            options=config.model_options,
            weights=config.weights,
            data=context.data,
        )


def read_plan(context: RunContext, network: Network) -> Keep:
    """What the plan file keeps of a network, in that network's own unit numbers.

    Raises:
        RecordError: not a plan.
        PlanError: it does not fit the network, or removes nothing.
    """
    assert context.plan_file
    keep = in_own_numbers(network, read_record(context.plan_file, Plan, remedy=OTHER_PLAN).keep)
    check(context.graph, keep)
    width = {group.name: group.width for group in context.graph.groups}
    if all(len(units) == width[name] for name, units in keep.items()):
        raise PlanError(f"{context.plan_file} removes nothing", hint="leave out the numbers of units to remove")
    return keep

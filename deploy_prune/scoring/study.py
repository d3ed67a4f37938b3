"""What a pruning method works with: the network under study, and what a run offers to methods that take long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.errors import ConfigError
from deploy_prune.processes.workers import Workers
from deploy_prune.sources.data import require_labels
from deploy_prune.train.recipe import OURS, Hooks
from deploy_prune.values import ChannelGraph, Data, Network, Progress, Scores, quiet

Allocator = Callable[[Scores], Mapping[str, tuple[int, ...]]]
"""Gives the units that stay under the budget by some scores."""


@dataclass(frozen=True, eq=False)
class Study:
    """What a method works with: what is pruned, and what the run offers to methods that take long."""

    network: Network
    """The network that is pruned, which no method changes."""
    graph: ChannelGraph
    """What may be cut in it."""
    data: Data | None
    """The images that the run was given. None: it has none."""
    seed: int
    """The seed of all that a method draws."""
    plan: Allocator | None = None
    """What stays under the tightest of the budgets. None: there is no budget."""
    scope: str = "full"
    """`inner`: groups that a residual add touches stay whole."""
    workers: Workers | None = None
    """The workers that compute candidates. None: this process."""
    folder: Path | None = None
    """Where a method leaves what it has worked out so far, to go on from there. None: nowhere."""
    progress: Progress = quiet
    """The listener that is told how far a method is."""
    hooks: Hooks = OURS
    """The task, and the user's own loss, metric and step, for methods that train or judge networks."""

    def images(self, method: str, *, labelled: bool = False) -> Data:
        """Give the data to a method that needs them.

        Raises:
            ConfigError: there are no data.
            DataError: the method needs labelled images, and these have no labels.
        """
        if self.data is None:
            raise ConfigError(f"method '{method}' needs images, and there are none here", hint="give the data it uses")
        if labelled:
            require_labels(self.data, self.data.train, f"method '{method}'")
        return self.data

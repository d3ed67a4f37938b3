"""What a network's outputs should have been, batch by batch: the labels, or what the dense network returns."""

from __future__ import annotations

import torch

from deploy_prune.errors import ConfigError
from deploy_prune.sources.data import labels_of
from deploy_prune.train.outputs import in_fp32, map_tensors
from deploy_prune.train.recipe import Batch, Hooks
from deploy_prune.train.tasks import Task, choose_task
from deploy_prune.values import BY_DATA, Data, Network


def task_of(hooks: Hooks, data: Data) -> Task:
    """The task that the caller names, or that of the data.

    Raises:
        DataError: the task needs labels, and the images have none.
    """
    task = hooks.task or choose_task(BY_DATA, data)
    if task.needs_labels:
        labels_of(data, data.train, type(task).__name__)
    return task


def dense_network(task: Task, hooks: Hooks) -> Network | None:
    """The network whose outputs are the target; None where labels are.

    Raises:
        ConfigError: there is no such network.
    """
    if task.needs_labels:
        return None
    if hooks.teacher is None:
        message = "without labels a network is held against the dense network, which is not given"
        raise ConfigError(message, hint="give Hooks(teacher=...), or take data with labels")
    return hooks.teacher


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device, its target as well."""
    return Batch(batch.images.to(device), map_tensors(lambda tensor: tensor.to(device), batch.target))


def with_target(batch: Batch, dense: Network | None) -> Batch:
    """The batch; where there is a dense network, its target is what that returns for the images, on their device."""
    if dense is None:
        return batch
    with torch.no_grad():
        return Batch(batch.images, in_fp32(dense.module(batch.images)))

"""What a network's outputs should have been, batch by batch: the labels, or what the dense network returns."""

from __future__ import annotations

import torch

from deploy_prune.errors import ConfigError
from deploy_prune.sources.data import check_classes, require_labels
from deploy_prune.train.accelerator import find_device
from deploy_prune.train.outputs import convert_to_fp32, map_tensors
from deploy_prune.train.recipe import Batch, Hooks
from deploy_prune.train.tasks import Task, choose_task
from deploy_prune.values import BY_DATA, Data, Network

TRIED_IMAGES = 2
"""How many images a network is tried on: enough to see which axis of its outputs they are along."""


def find_task(network: Network, hooks: Hooks, data: Data) -> Task:
    """The task that the caller names, or that of the data.

    Raises:
        DataError: the task needs labels, and the images have none, or labels of other classes than the network's.
    """
    task = hooks.task or choose_task(BY_DATA, data, network.classes)
    if task.needs_labels:
        require_labels(data, data.train, type(task).__name__)
        check_classes(network, data)
    return task


def check_outputs(network: Network, hooks: Hooks, data: Data) -> None:
    """Refuse a network whose outputs its task cannot judge, unless the caller's own loss and metric do.

    Args:
        network: in eval mode, of the data's image size; it is run on blank images.
        hooks: the caller's own, and the task.
        data: the images of the run.

    Raises:
        DataError: the task needs labels, and the images have none, or labels of other classes than the network's.
        ConfigError: the outputs are not what the task needs, or the network takes one image at a time alone.
    """
    task = find_task(network, hooks, data)
    if hooks.loss is not None and hooks.metric is not None:
        return
    images = torch.zeros(TRIED_IMAGES, *network.input_shape, device=find_device(network.module))
    try:
        with torch.inference_mode():
            outputs = network.module(images)
    except RuntimeError as error:  # what torch raises for shapes that do not fit
        message = f"{network.address} does not take {TRIED_IMAGES} images at once: {str(error).strip().splitlines()[0]}"
        raise ConfigError(message, hint="its forward must keep the first axis, along which images lie") from error
    task.check(outputs, TRIED_IMAGES, data)


def describe_judgement(network: Network, hooks: Hooks, data: Data) -> str:
    """Say how the task judges the outputs of a network, in eval mode; empty: its quality's name says it all."""
    if hooks.metric is not None:
        return ""
    with torch.inference_mode():
        outputs = network.module(torch.zeros(TRIED_IMAGES, *network.input_shape, device=find_device(network.module)))
    return find_task(network, hooks, data).describe(outputs)


def find_dense_network(task: Task, hooks: Hooks) -> Network | None:
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


def add_target(batch: Batch, dense: Network | None) -> Batch:
    """The batch; where there is a dense network, its target is what that returns for the images, on their device."""
    if dense is None:
        return batch
    with torch.no_grad():
        return Batch(batch.images, convert_to_fp32(dense.module(batch.images)))

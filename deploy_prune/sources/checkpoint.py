"""A pruned network on disk: `plan.json` + `weights.safetensors` + `network.json`, replayed on the dense architecture.

Where single kernels were removed, `masks.safetensors` beside them says which.

No pickle, no module layout: what is stored is the address that builds the dense network, which units are left of it
(in the dense network's numbers) and the tensors. So a checkpoint survives new versions of torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy_prune.errors import PlanError, RecordError
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.records import explain_storage_errors, read_record, sha256, write_record
from deploy_prune.sources.networks import rebuild_network
from deploy_prune.sources.unit_numbers import units_left_of_dense
from deploy_prune.sources.weights import load_weights, read_tensors, save_tensors, save_weights
from deploy_prune.values import Network, Plan

NETWORK, PLAN, WEIGHTS, MASKS = "network.json", "plan.json", "weights.safetensors", "masks.safetensors"
RESTORE = "restore it, or run again"
"""What to do about a damaged file of a network."""


@dataclass(frozen=True)
class Description:
    """How to build the dense architecture, and which weights belong to the plan."""

    address: str
    options: dict[str, Any]
    classes: int | None
    input_shape: tuple[int, int, int]
    weights_sha256: str
    masks_sha256: str = ""
    """Empty: no kernels were removed."""


def save(network: Network, folder: Path) -> None:
    """Write a network, dense or cut, so that `load` gives back the same logits.

    Raises:
        StorageError: the file system refused.
    """
    if network.kept:
        plan = Plan(network=network.address, keep=units_left_of_dense(network))
        write_record(folder / PLAN, plan)
    else:  # one of a cut network that was saved here before
        with explain_storage_errors(folder / PLAN):
            (folder / PLAN).unlink(missing_ok=True)
    save_weights(network.module, folder / WEIGHTS)
    if network.masks:
        save_tensors(network.masks, folder / MASKS)
    else:
        with explain_storage_errors(folder / MASKS):
            (folder / MASKS).unlink(missing_ok=True)
    channels, height, width = network.input_shape
    described = Description(
        address=network.address,
        options=dict(network.options),
        classes=network.classes,
        input_shape=(channels, height, width),
        weights_sha256=sha256(folder / WEIGHTS),
        masks_sha256=sha256(folder / MASKS) if network.masks else "",
    )
    write_record(folder / NETWORK, described)  # last: a folder with a description is whole


def load(folder: Path | str) -> Network:
    """The network that `save` (or a run) wrote into `folder`, in eval mode.

    Raises:
        RecordError: not such a folder, or a damaged one.
        PlanError: the code of the model has changed, and the plan does not fit it any more.
        WeightsError: the weights do not fit.
    """
    folder = final_network(Path(folder))
    described = description(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256(weights) != described.weights_sha256:
        raise RecordError(f"{weights} is missing or not the file that was saved", hint=RESTORE)
    network = rebuild_network(described.address, described.classes, described.input_shape, described.options)
    if (folder / PLAN).is_file():
        plan = read_record(folder / PLAN, Plan, remedy=RESTORE)
        try:
            network = cut(network, trace(network), plan.keep)
        except PlanError as error:
            hint = f"has the code of {described.address} changed since?"
            raise PlanError(f"{folder / PLAN} does not fit any more: {error.message}", hint=hint) from error
    return dataclasses.replace(load_weights(network, weights), masks=_masks(folder / MASKS, described, network))


def _masks(path: Path, described: Description, network: Network) -> Mapping[str, Tensor]:
    if not described.masks_sha256:
        return {}
    if not path.is_file() or sha256(path) != described.masks_sha256:
        raise RecordError(f"{path} is missing or not the file that was saved", hint=RESTORE)
    masks, shapes = read_tensors(path), {name: each.shape for name, each in network.module.named_parameters()}
    for name, mask in masks.items():
        if mask.shape != shapes.get(name) or mask.dtype != torch.bool:
            raise RecordError(f"{path} masks '{name}', which {network.address} does not have so", hint="run again")
    return masks


def description(folder: Path) -> Description:
    """What the network in a folder is, without building it.

    Raises:
        RecordError: there is none, or its record is damaged.
    """
    return read_record(final_network(folder) / NETWORK, Description, remedy=RESTORE)


def final_network(folder: Path) -> Path:
    """The folder that holds the network of a run: its last finished round of training, or the folder itself.

    Raises:
        RecordError: there is no finished network in it.
    """
    numbers = {each: each.name.removeprefix("round-") for each in folder.glob("round-*")}
    rounds = [each for each, number in numbers.items() if number.isascii() and number.isdigit()]
    for candidate in (*sorted(rounds, key=lambda each: (len(numbers[each]), numbers[each]), reverse=True), folder):
        if (candidate / NETWORK).is_file():
            return candidate
    raise RecordError(f"{folder} holds no finished network", hint="a run has one once its training stage is done")

"""What a refit has finished, one file per layer, so that a killed one goes on to the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from deploy_prune.errors import RecordError
from deploy_prune.graph.flat_network import Tensors
from deploy_prune.records import write_atomic
from deploy_prune.values import LayerRefit

Finished = tuple[LayerRefit, Mapping[str, Tensor]]
"""What became of a layer, and its new tensors."""


def write_layer(path: Path, identity: str, finished: Finished) -> None:
    """Write down what became of a layer.

    Raises:
        StorageError: the file system refused.
    """
    told, tensors = finished
    about = {"refit": identity, "layer": TypeAdapter(LayerRefit).dump_json(told).decode()}
    content = save({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def read_layer(path: Path, identity: str) -> Finished | None:
    """Read what became of a layer before an interruption; None: it was not finished.

    Raises:
        RecordError: the file is damaged, or of another refit.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        told = TypeAdapter(LayerRefit).validate_json(about.get("layer", ""))
    except (SafetensorError, OSError, ValidationError) as error:
        raise RecordError(f"{path} is damaged: {error}", hint="remove its folder to refit from the start") from error
    if about.get("refit") != identity:
        message = f"{path} is of another refit (other weights, images or settings)"
        raise RecordError(message, hint="remove its folder to refit from the start")
    return told, tensors


def digest(tensors: Tensors, *words: str) -> str:
    """What identifies tensors and words: a change of any number changes it."""
    total = hashlib.sha256("\0".join(words).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return total.hexdigest()

"""A training that was interrupted: one safetensors file with weights, optimizer state and where it stood."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from deploy_prune.errors import RecordError
from deploy_prune.records import SCHEMA, write_atomic
from deploy_prune.train.precision import Arithmetic

_MODULE, _OPTIMIZER = "module.", "optimizer."


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a training stands."""

    training: str
    """The fingerprint of what is trained and how."""
    epochs_done: int
    arithmetic: Arithmetic
    """The arithmetic that was measured to be fastest, or asked for, when it began."""


def fingerprint(module: nn.Module, *described: object) -> str:
    """Digest the start weights and the (printable) description of a training: 64 hexadecimal digits."""
    digest = hashlib.sha256(repr(described).encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(_list_bytes(tensor))
    return digest.hexdigest()


def _list_bytes(tensor: Tensor) -> bytes:
    content: bytes = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return content


def save_state(path: Path, standing: Standing, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a training's state atomically: a kill leaves the state before or the state after."""
    tensors = {_MODULE + name: tensor for name, tensor in module.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{key}": value for key, value in entries.items() if value is not None}
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(dataclasses.asdict(standing))
    header = {"schema": str(SCHEMA), "standing": text, "sha256": _digest(text, copies)}
    write_atomic(path, lambda temporary: temporary.write_bytes(save(copies, metadata=header)))


def load_state(path: Path, training: str, module: nn.Module, optimizer: torch.optim.Optimizer) -> Standing:
    """Put the stored state into a module and its optimizer.

    Raises:
        RecordError: the file is damaged, if only by a bit, or of another training.
    """
    try:
        header, tensors = _read(path)
        standing = TypeAdapter(Standing).validate_json(header["standing"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _explain_damage(path, str(error)) from error
    if standing.training != training or header.get("schema") != str(SCHEMA):
        message = f"{path} belongs to another training (other start weights, data or recipe)"
        raise RecordError(message, hint="remove it to train from the start")
    weights = {name.removeprefix(_MODULE): value for name, value in tensors.items() if name.startswith(_MODULE)}
    try:
        module.load_state_dict(weights)
        standing.arithmetic.place(module)
        _restore(optimizer, {name: value for name, value in tensors.items() if name.startswith(_OPTIMIZER)})
    except (RuntimeError, ValueError, IndexError) as error:  # only of a state of before, which has no digest
        raise _explain_damage(path, str(error).splitlines()[0]) from error
    return standing


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What is said of a state, and its tensors by name; those of before have no digest.

    Raises:
        ValueError: it is not what was saved.
    """
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    unknown = set(header) - {"schema", "standing", "sha256"}
    if unknown or ("sha256" in header and header["sha256"] != _digest(header["standing"], tensors)):
        raise ValueError("its tensors, or where it stands, are not what was saved")
    return header, tensors


def _digest(standing: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(standing.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(_list_bytes(tensor))
    return digest.hexdigest()


def _explain_damage(path: Path, what: str) -> RecordError:
    return RecordError(f"{path} is damaged: {what}", hint="remove it to train from the start")


def _restore(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for name, value in tensors.items():
        index, _, key = name.removeprefix(_OPTIMIZER).partition(".")
        parameter = parameters[int(index)]
        # In the parameter's own memory format: vectorised and plain loops may round differently.
        same_shape = value.shape == parameter.shape
        optimizer.state[parameter][key] = torch.empty_like(parameter).detach().copy_(value) if same_shape else value

"""Weights on disk: safetensors, or a `.pth` that holds tensors and nothing else; pickled code is never run."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from deploy_prune.errors import WeightsError
from deploy_prune.records import write_atomic
from deploy_prune.values import Network

# Where training scripts put the weights among other things, and what wrappers put before each name.
NESTED_UNDER = ("state_dict", "model", "model_state_dict", "net")
WRAPPER_PREFIX = "module."
# Counts how many batches a norm has seen; old checkpoints lack it, and inference does not read it.
OPTIONAL_SUFFIX = "num_batches_tracked"
VARIANCE_SUFFIX = "running_var"
FLOATS = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))
"""What weights are stored in; those of 8 bits mean nothing without their scales."""
DIVERGED = "that training diverged: use another file"


def load_weights(network: Network, path: Path) -> Network:
    """The same network with the weights of a file (.safetensors, or .pth/.pt read with `weights_only`).

    Accepts weights nested under `state_dict` or `model` and names that start with `module.`.

    Raises:
        WeightsError: missing, corrupt, with code in its pickle, or of another network (names the first keys); a tensor
            that is of another type, not plain, or holds NaN, infinity or a negative variance.
    """
    weights = _unwrap(read_tensors(path), path)
    _check(network, weights, path)
    return replace_weights(network, weights)


def find_lost_weight(module: nn.Module) -> str | None:
    """Find the first parameter, or statistic of a norm, that holds NaN or infinity; None: all are finite."""
    statistics = (each for each in module.named_buffers() if each[0].endswith(("running_mean", VARIANCE_SUFFIX)))
    for name, tensor in (*module.named_parameters(), *statistics):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def replace_weights(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """A copy of a network with some of its weights replaced; a tensor of several names goes by the first."""
    module = copy.deepcopy(network.module)
    merged, first = {**module.state_dict(), **weights}, dict[int, str]()
    for name, parameter in module.named_parameters(remove_duplicate=False):
        merged[name] = merged[first.setdefault(id(parameter), name)]
    module.load_state_dict(merged)
    return dataclasses.replace(network, module=module)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write parameters and persistent buffers as safetensors, atomically.

    Raises:
        StorageError: the file system refused.
    """
    save_tensors(module.state_dict(), path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by name as safetensors, atomically.

    Raises:
        StorageError: the file system refused.
    """
    # Clones: safetensors refuses tensors that share memory, as tied weights do.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # Not `save_file`: its errors do not tell a full disk from anything else.
    write_atomic(path, lambda temporary: temporary.write_bytes(save(tensors)))


def read_tensors(path: Path) -> dict[str, Any]:
    """What a weights file holds, unchecked.

    Raises:
        WeightsError: missing, corrupt, or a pickle with code in it.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist", hint="give a .safetensors or .pth file")
    _refuse_text(path)
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files and rare tensors: they load or are refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        hint = "save the state_dict alone, best as .safetensors"
        raise WeightsError(f"{path} is corrupt, or holds more than tensors (its code is not run)", hint=hint) from error
    except Exception as error:  # bytes that are no file of weights can end in any error of the readers
        hint = "copy or download it again"
        raise WeightsError(f"{path} is corrupt: {type(error).__name__}: {error}", hint=hint) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not weights", hint="save module.state_dict()")
    return content


def _refuse_text(path: Path) -> None:
    """Refuse what stands in the place of weights when a download went wrong, or when another file was meant."""
    try:
        with path.open("rb") as file:
            begins = file.read(256)
    except OSError as error:
        hint = "may it be read, and is it whole?"
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}", hint=hint) from error
    if begins and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in begins):
        hint = (
            "is it the pointer of a Git LFS file, or the page that a download ended on? Fetch the weights themselves, "
            "as torch.save(module.state_dict(), FILE) writes them, or a .safetensors file"
        )
        raise WeightsError(f"{path} is a text, not a file of weights", hint=hint)


def _unwrap(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    for key in NESTED_UNDER:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        raise WeightsError(f"{path} holds no tensors", hint="save module.state_dict()")
    if all(name.startswith(WRAPPER_PREFIX) for name in weights):
        weights = {name.removeprefix(WRAPPER_PREFIX): value for name, value in weights.items()}
    return weights


def _check(network: Network, weights: Mapping[str, Tensor], path: Path) -> None:
    expected = network.module.state_dict()
    missing = [name for name in expected if name not in weights and not name.endswith(OPTIONAL_SUFFIX)]
    surplus = [name for name in weights if name not in expected]
    if missing or surplus:
        parts = [f"lacks {_name_some(missing)}"] * bool(missing)
        parts += [f"has unknown {_name_some(surplus)}"] * bool(surplus)
        hint = f"are these weights of {network.address}, built with the same options?"
        raise WeightsError(f"{path} does not fit {network.address}: it {' and '.join(parts)}", hint=hint)
    for name, tensor in weights.items():
        _check_tensor(network, path, name, expected[name], tensor)


def _check_tensor(network: Network, path: Path, name: str, own: Tensor, tensor: Tensor) -> None:
    """Refuse a tensor that cannot stand in the place of the network's own: another kind, shape, type, or not finite."""
    if kind := _name_kind(tensor):
        hint = "save plain tensors: module.state_dict() of the trained network, not of a compressed or unloaded one"
        raise WeightsError(f"{path}: {name} is a {kind} tensor, {network.address} needs its plain values", hint=hint)
    if own.shape != tensor.shape:
        raise _explain_shape(network, path, name, tuple(tensor.shape))
    converted = tensor.to(own.dtype) if own.is_floating_point() == tensor.is_floating_point() else None
    if own.is_floating_point():
        if tensor.dtype not in FLOATS or converted is None:
            hint = "give the trained floating-point weights, not rounded or quantised ones"
            message = f"{path}: {name} holds {_name_type(tensor)}, {network.address} needs {_name_type(own)}"
            raise WeightsError(message, hint=hint)
        # Masks may hold infinity where the network's own do.
        if not bool(torch.isfinite(converted).all()) and not torch.equal(converted, own.cpu()):
            raise WeightsError(f"{path}: {name} holds NaN or infinity", hint=DIVERGED)
    elif not torch.equal(tensor, tensor.to(own.dtype).to(tensor.dtype)):
        message = f"{path}: {name} holds {_name_type(tensor)} that are no {_name_type(own)}"
        raise WeightsError(message, hint="are these weights of the same network, width and options?")
    if name.endswith(VARIANCE_SUFFIX) and tensor.numel() and float(tensor.min()) < 0:
        message = f"{path}: {name} holds a negative variance, {float(tensor.min()):g}"
        raise WeightsError(message, hint="the file is damaged: copy or download it again")


def _name_kind(tensor: Tensor) -> str:
    """What a tensor is that has no plain values; empty: it has."""
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized:
        return "quantised"
    return "" if tensor.layout == torch.strided else "sparse"


def _name_type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _explain_shape(network: Network, path: Path, name: str, actual: tuple[int, ...]) -> WeightsError:
    wanted = tuple(network.module.state_dict()[name].shape)
    message = f"{path}: {name} has shape {actual}, {network.address} needs {wanted}"
    only_first_differs = bool(wanted) and bool(actual) and wanted[1:] == actual[1:]
    if only_first_differs and wanted[0] == network.classes:
        message += f": the weights know {actual[0]} classes, the network has {network.classes}"
        return WeightsError(message, hint=f"build the network with {actual[0]} classes, or take other weights")
    return WeightsError(message, hint="are these weights of the same network, width and options?")


def _name_some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"

"""What every exporter does around a vendor's converter: a clean copy in, one short reason out when it fails."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

import torch
from torch import Tensor, nn

from deploy_prune.causes import find_missing_library
from deploy_prune.errors import DeployPruneError, ExportFailed, MissingDependency
from deploy_prune.processes.silence import silence
from deploy_prune.values import Network

ANSI = re.compile(r"\x1b\[[0-9;]*m")
REASON_LENGTH = 200
UNTRACEABLE = ("torch._dynamo", "torch.fx.experimental.symbolic_shapes")
"""Modules of the errors that torch.export raises where it cannot follow a network."""
UNKNOWN_OPERATOR = (
    re.compile(r"Lowering not found: ([\w.]+)"),
    re.compile(r"Unsupported fx node \w+, kind ([\w.]+)"),
    re.compile(r"convert function for op '([\w.]+)' not implemented"),
    re.compile(r"Operator torch\._ops\.([\w.]+) is not in Core ATen opset"),
    re.compile(r"Missing out variants: \{'([\w:.]+)'"),
    re.compile(r"unsupported ATen ops: ([\w.]+)"),
    re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'"),
)
"""How converters say that they lack an operator: litert-torch, coremltools (2), ExecuTorch (2), coreai-torch, torch."""


def clean_copy(network: Network) -> nn.Module:
    """A copy of the module as converters want it: eval mode, CPU, fp32, contiguous. The caller's stays as it is.

    Raises:
        ExportFailed: a parameter or buffer holds NaN or infinity, or the module cannot be copied.
    """
    for name, tensor in (*network.module.named_parameters(), *network.module.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            hint = "the training diverged: take an earlier checkpoint or a lower learning rate"
            raise ExportFailed(f"'{name}' of {network.address} holds NaN or infinity", hint=hint)
    try:
        clone = copy.deepcopy(network.module)
    except (RuntimeError, TypeError) as error:
        hint = "a module must survive copy.deepcopy: keep no activations or handles in it"
        raise ExportFailed(f"{network.address} cannot be copied: {shorten_reason(error)}", hint=hint) from error
    clone = clone.cpu().float().eval()
    for tensor in (*clone.parameters(), *clone.buffers()):
        tensor.requires_grad_(False)
        tensor.data = tensor.data.contiguous()
    return clone


def make_example(network: Network, *, batch: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """Random inputs of the network, channels first, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, *shape, generator=generator) for shape in network.input_shapes)


def find_version(package: str, *, extra: str) -> str:
    """The version of a converter's package.

    Raises:
        MissingDependency: it is not installed; names the extra that brings it.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise MissingDependency(package, extra) from error


@contextmanager
def explain_vendor_errors(name: str, network: Network) -> Iterator[None]:
    """Run a vendor's converter: silent, and whatever it raises becomes `ExportFailed` with its own reason.

    A system library for want of which its package cannot be imported stays `MissingLibrary`.
    """
    try:
        with silence(), torch.no_grad():
            yield
    except DeployPruneError:
        raise
    # Converters raise anything, from AssertionError to their own classes: this is the seam
    except Exception as error:
        if missing := find_missing_library(error):
            raise missing from error
        reason = shorten_reason(error)
        message = f"{name} could not convert {network.address}: {reason}"
        raise ExportFailed(message, hint=_advise(error, reason)) from error


def _advise(error: BaseException, reason: str) -> str:
    """What to do about a converter's error: few of them say that the format cannot have what the network needs."""
    unknown = next((match[1] for pattern in UNKNOWN_OPERATOR if (match := pattern.search(reason))), None)
    if unknown:
        return f"the converter does not know {unknown}: write it with other operators, or leave this format out"
    if any(type(each).__module__.startswith(UNTRACEABLE) for each in _list_chain(error)):
        return "the converter cannot follow sizes or branches that depend on values: take them from shapes alone"
    return "a fault of the converter, as far as can be told: the format may be able to, and other formats may do"


def _list_chain(error: BaseException) -> list[BaseException]:
    """An error and those that led to it, the last one first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return chain


def shorten_reason(error: BaseException) -> str:
    """Type and first line of the error at the bottom of the chain: converters wrap theirs in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in ANSI.sub("", str(error)).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    return f"{type(error).__name__}: {text}"[:REASON_LENGTH].rstrip(": ")

"""Leads from an address to a dense network: `NAME`, `NAME:REST` or `path/to/file.py:factory`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.graph.returned import make_forms_known
from deploy_prune.setting_rules import check_image_shape
from deploy_prune.sources.addresses import refuse_path, split_address
from deploy_prune.sources.models import MODELS
from deploy_prune.values import Network


def build_network(
    address: str,
    *,
    classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Network:
    """An untrained network in eval mode that was seen to run once; its weights come from torch's current seed.

    `classes` and `input_shape` (channels, height, width) None: the architecture's own.

    Raises:
        UnknownName: no such source, model or option (the closest is offered).
        ConfigError: the model cannot have that many classes or that input.
    """
    if classes is not None and classes < 1:
        raise ConfigError(f"a network cannot have {classes} classes", hint="give 1 or more")
    if input_shape is not None:
        check_image_shape(input_shape)
    refuse_path(MODELS, address)
    name, rest = split_address(address)
    source = plugins.build(MODELS, name, options)
    network: Network = source.build(rest, classes=classes, input_shape=input_shape)
    network.module.eval()
    _try_out(network)
    return dataclasses.replace(network, address=address, options=dict(options or {}))


def rebuild_network(
    address: str, classes: int | None, input_shape: tuple[int, int, int], options: Mapping[str, Any]
) -> Network:
    """`build_network` where the weights do not count: torch's seed, which is the caller's, stays as it was."""
    with torch.random.fork_rng(devices=[]):
        return build_network(address, classes=classes, input_shape=input_shape, options=options)


def own_architecture(
    name: str,
    rest: str,
    make: Callable[[int, int], nn.Module],
    *,
    classes: int | None,
    input_shape: tuple[int, int, int] | None,
    usual: tuple[int, int],
) -> Network:
    """The network of an address without a rest; `make(classes, input channels)` builds it.

    `usual` is what is taken when nothing is said: (classes, side of a square RGB image).

    Raises:
        ConfigError: the address has a rest.
    """
    if rest:
        raise ConfigError(f"'{name}' takes nothing after its name, got '{name}:{rest}'", hint=f"write {name}")
    classes = classes or usual[0]
    shape = input_shape or (3, usual[1], usual[1])
    return Network(address=name, module=make(classes, shape[0]), input_shapes=(shape,), classes=classes)


def _try_out(network: Network) -> None:
    """One forward pass, so that a network that cannot take its input is refused before anything is read or trained."""
    images = [torch.zeros(1, *shape) for shape in network.input_shapes]
    try:
        with torch.no_grad():
            make_forms_known(network.module(*images))
    except Exception as error:
        shapes = " and ".join("x".join(map(str, shape)) for shape in network.input_shapes)
        text = str(error).strip().split("\n")[0]
        message = f"{network.address} does not run on an input of {shapes}: {type(error).__name__}: {text}"
        hint = "set the input shape to one that the network takes: --input-shape C,H,W, such as 3,32,32"
        raise ConfigError(message, hint=hint) from error

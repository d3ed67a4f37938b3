"""One way from an address to a network: an architecture is built and loaded with weights, a run folder is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy_prune.errors import ConfigError, WeightsError
from deploy_prune.sources import checkpoint
from deploy_prune.sources.networks import build_network
from deploy_prune.sources.weights import find_lost_weight, load_weights
from deploy_prune.values import Data, Network

Shape = tuple[int, int, int]


def open_network(
    address: str,
    *,
    classes: int | None = None,
    input_shape: Shape | None = None,
    options: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    data: Data | None = None,
) -> Network:
    """The network that an address leads to, in eval mode.

    Args:
        address: `NAME`, `NAME:REST` or `path/to/file.py:factory` of an architecture, or a run folder.
        classes: of the architecture; None: as many as the data have, else its own.
        input_shape: channels, height and width of one image; None: that of the data, else the architecture's own.
        options: keywords of the architecture.
        weights: a file of trained ones; None: an architecture's are drawn from torch's current seed.
        data: the images that an architecture is built for.

    Raises:
        UnknownName: no such model or option.
        ConfigError: the model cannot have that form, or something is given that a run folder has decided.
        RecordError: a folder that holds no finished network.
        WeightsError: the weights are missing, corrupt, of another network, or hold NaN or infinity.
    """
    if Path(address).is_dir():
        refuse_given(address, {"classes": classes, "options": options, "weights": weights})
        network = checkpoint.load(address)
        if input_shape != network.input_shape:
            refuse_given(address, {"input_shape": input_shape})
        return network
    if data is not None:
        classes, input_shape = classes or len(data.classes) or None, input_shape or data.image_shape
    network = build_network(address, classes=classes, input_shape=input_shape, options=options)
    if weights is not None:
        return load_weights(network, weights)
    if lost := find_lost_weight(network.module):
        hint = "give weights that are numbers (--weights FILE), or mend what builds the network"
        raise WeightsError(f"'{lost}' of {address}, as it was built, holds NaN or infinity", hint=hint)
    return network


def refuse_given(run: Path | str, given: Mapping[str, object]) -> None:
    """Refuse to be told what a run folder has decided already: name -> what was given, or nothing.

    Raises:
        ConfigError: something was given; says what to leave out.
    """
    for name, value in given.items():
        if value:
            raise ConfigError(f"{run} is a run folder, which has its own {name}", hint=f"leave out {name}")

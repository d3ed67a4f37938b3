"""From an address to shipped files: build or load a network, read images of its kind, export, verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.values import Network, Progress, Shipment, quiet

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = 256
"""Images a file is verified on: enough to see a top-1 that differs on one image in a hundred."""


@dataclass(frozen=True)
class Order:
    """A network, and what to ship of it: a run folder, or an architecture with weights."""

    address: str
    targets: tuple[str, ...] = ()
    weights: Path | None = None
    data: str | None = None
    """Where real images for verifying come from; None: random inputs alone."""
    classes: int | None = None
    input_shape: tuple[int, int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the architecture."""


def ship(order: Order, folder: Path, *, progress: Progress = quiet) -> tuple[Shipment, ...]:
    """Write one verified file per target into `folder`.

    Raises:
        UnknownName: no such model, data set or target, before any work is done.
        ConfigError: flags that do not go with a run folder.
        WeightsError: the weights are missing, corrupt or of another network.
        DataError: the images are of another kind than the network takes.
    """
    for target in order.targets:
        plugins.load("exporters", target)
    from deploy_prune.exporting import export

    network = open_network(order)
    images = None if order.data is None else verification_images(order.data, network)
    return export(network, order.targets, folder, images=images, progress=progress)


def verification_images(address: str, network: Network, *, count: int = IMAGES) -> Tensor:
    """Normalised images spread over the validation split: float32, (images, channels, height, width)."""
    import numpy as np

    from deploy_prune.data import check_fit, normalise, read_data

    _, height, width = network.input_shape
    data = read_data(address, size=(height, width))
    check_fit(network, data)
    total = len(data.val.labels)
    chosen = np.linspace(0, total - 1, min(count, total)).astype(np.int64)
    return normalise(data.val.read(chosen), data.mean, data.std)


def open_network(order: Order) -> Network:
    """The network that an order names, with its weights.

    Raises:
        ConfigError: flags that do not go with a run folder.
        RecordError: a folder that holds no finished network.
    """
    from deploy_prune.networks import build_network
    from deploy_prune.weights import load_weights

    if Path(order.address).is_dir():
        given: dict[str, object] = {
            "--weights": order.weights,
            "--classes": order.classes,
            "--input": order.input_shape,
            "--option": order.options or None,
        }
        for flag, value in given.items():
            if value is not None:
                raise ConfigError(f"{order.address} is a run folder, which has its own {flag[2:]}", hint=f"drop {flag}")
        from deploy_prune.checkpoint import load

        return load(Path(order.address))
    network = build_network(order.address, classes=order.classes, input_shape=order.input_shape, options=order.options)
    return network if order.weights is None else load_weights(network, order.weights)

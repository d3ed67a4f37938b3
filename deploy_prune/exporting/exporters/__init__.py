"""The contract of an exporter: one short file over a vendor's converter, which reads as a tuple of named steps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from deploy_prune.errors import ConfigError
from deploy_prune.plugins import Kind
from deploy_prune.values import FP32, AppForm, Layout, Network, Precision

if TYPE_CHECKING:
    import numpy as np

PLAIN = AppForm()
"""The network's own numbers in, its own numbers out."""

Calibration = Iterable["np.ndarray"] | None
"""Batches of typical inputs, float32 (n, c, h, w), normalised as the network takes them; None: there are none.

A precision of whole numbers learns from them how large activations become. fp32 and fp16 do without.
"""


class Exporter(Protocol):
    """Writes a network in one format; the fields of the plugin are its options.

    `steps.write_in_steps` does what all formats have in common: a plugin is its steps and what it says of itself.
    """

    suffix: ClassVar[str]
    """The suffix of its files, with the dot."""
    runtime: ClassVar[str]
    """The runtime plugin that runs the file, for verifying it."""
    camera_layout: ClassVar[Layout]
    """Layout in which a file with baked preprocessing takes pixels."""
    precisions: ClassVar[tuple[Precision, ...]]
    """The precisions in which it can store weights and activations."""

    @property
    def layout(self) -> Layout:
        """Layout of the image input of the files it writes without baked preprocessing."""

    @property
    def dynamic_batch(self) -> bool:
        """Whether the file takes any batch size (otherwise 1)."""

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = FP32, calibration: Calibration = None) -> None:  # fmt: skip
        """Convert in eval mode and write one file, or one folder where that is the format.

        Args:
            network: it is not changed.
            path: where the file goes; its folder exists.
            form: what the app passes in and gets back.
            precision: one of `precisions`; it decides how closely the file must follow the network.
            calibration: batches of typical inputs, read once, by a precision that needs them.

        Raises:
            ConfigError: the format cannot be written in that precision; nothing has been converted.
            ExportFailed: NaN in the weights, or the converter refuses the network, with its own reason.
            MissingDependency: the converter is not installed.
        """


EXPORTERS: Kind[Exporter] = Kind("exporters")


def check_precision(exporter: Exporter | type[Exporter], precision: str) -> None:
    """Refuse a precision that a format cannot be written in.

    Raises:
        ConfigError: names the precisions that it can be written in.
    """
    if precision not in exporter.precisions:
        message = f"{exporter.suffix} files cannot be written in precision '{precision}'"
        raise ConfigError(message, hint=f"choose one of: {', '.join(exporter.precisions)}")

"""The contract of an exporter: one short file over a vendor's converter."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from deploy_prune.plugins import Kind
from deploy_prune.values import AppForm, Layout, Network, Precision

PLAIN = AppForm()
"""The network's own numbers in, its own numbers out."""


class Exporter(Protocol):
    """Writes a network in one format; the fields of the plugin are its options."""

    suffix: ClassVar[str]
    """With the dot."""
    runtime: ClassVar[str]
    """The runtime plugin that runs the file, for verifying it."""
    camera_layout: ClassVar[Layout]
    """Layout in which a file with baked preprocessing takes pixels."""

    @property
    def layout(self) -> Layout:
        """Layout of the image input of the files it writes without baked preprocessing."""

    @property
    def dynamic_batch(self) -> bool:
        """Whether the file takes any batch size (otherwise 1)."""

    @property
    def precision(self) -> Precision:
        """In which weights and activations are stored; decides how closely the file must follow the network."""

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""

    def write(self, network: Network, path: Path, form: AppForm = PLAIN) -> None:
        """Convert in eval mode and write one file, or one folder where that is the format, in the form asked for.

        Raises ExportFailed with the converter's own reason.
        """


EXPORTERS: Kind[Exporter] = Kind("exporters")

"""Writes .tflite files with litert-torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from deploy_prune.conversion import converter
from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.exporters import PLAIN
from deploy_prune.interface import as_called
from deploy_prune.values import AppForm, Layout, Network, Precision


@dataclass(frozen=True)
class TFLite:
    """One .tflite file at batch 1."""

    suffix: ClassVar[str] = ".tflite"
    runtime: ClassVar[str] = "litert"
    camera_layout: ClassVar[Layout] = "nhwc"

    layout: Layout = "nhwc"
    """Of inputs with height and width. Cameras and LiteRT's kernels are channels last; "nchw" adds a transpose."""

    def __post_init__(self) -> None:
        if self.layout not in {"nhwc", "nchw"}:
            raise ConfigError(f"layout '{self.layout}' of tflite", hint="known: nhwc, nchw")

    @property
    def dynamic_batch(self) -> bool:
        """LiteRT plans its memory for one size."""
        return False

    @property
    def precision(self) -> Precision:
        """As the network."""
        return "fp32"

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        try:
            return f"litert-torch {version('litert-torch')}"
        except PackageNotFoundError as error:
            raise MissingDependency("litert-torch", "tflite") from error

    def write(self, network: Network, path: Path, form: AppForm = PLAIN) -> None:
        """Convert in eval mode and write one file.

        Raises:
            ExportFailed: NaN in the weights, or litert-torch refuses the network.
            MissingDependency: litert-torch is not installed.
        """
        module, inputs = as_called(network, form, camera_layout=self.camera_layout)
        with converter(self.version(), network):
            import litert_torch

            if self.layout == "nhwc" and not form.bake:
                images = [index for index, tensor in enumerate(inputs) if tensor.ndim > 2]
                module = litert_torch.to_channel_last_io(module, args=images).eval()
                inputs = tuple(tensor.movedim(1, -1).contiguous() if tensor.ndim > 2 else tensor for tensor in inputs)
            content = litert_torch.convert(module, inputs).model_content()
        path.write_bytes(content)


plugin = TFLite

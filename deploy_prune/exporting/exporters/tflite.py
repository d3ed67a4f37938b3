"""Writes .tflite files with litert-torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.exporting.app_interface import as_called
from deploy_prune.exporting.converter import vendor_errors
from deploy_prune.exporting.exporters import PLAIN, Exporter
from deploy_prune.exporting.fold_norms import folded
from deploy_prune.exporting.metadata import input_sentence, label_lines, output_sentence, preprocessing
from deploy_prune.formats.tflite_file import TFLiteFile
from deploy_prune.formats.tflite_metadata import COLOR_SPACES, TensorNotes
from deploy_prune.values import AppForm, Layout, Network, Precision

LABELS_FILE = "labels.txt"


@dataclass(frozen=True)
class TFLite:
    """One .tflite file at batch 1.

    Where normalisation or labels are known, the file carries them as TensorFlow Lite's model metadata: in the units of
    pixels from 0 to 255 (mean 0 and std 1 where preprocessing is baked in), the labels in an attached `labels.txt`.
    """

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
        with vendor_errors(self.version(), network):
            content = self._named(self._converted(module, inputs, form), network, form)
        path.write_bytes(content)

    def _converted(self, module: nn.Module, inputs: tuple[Tensor, ...], form: AppForm) -> bytes:
        import litert_torch

        module = folded(module, inputs)
        if self.layout == "nhwc" and not form.bake:
            images = [index for index, tensor in enumerate(inputs) if tensor.ndim > 2]
            module = litert_torch.to_channel_last_io(module, args=images).eval()
            inputs = tuple(tensor.movedim(1, -1).contiguous() if tensor.ndim > 2 else tensor for tensor in inputs)
        content: bytes = litert_torch.convert(module, inputs).model_content()
        return content

    def _named(self, content: bytes, network: Network, form: AppForm) -> bytes:
        """With names, and with metadata where there is something to say."""
        file = TFLiteFile(content)
        inputs, outputs = file.rename(form.input_names, form.output_names)
        left = preprocessing(network, form)
        if left or form.labels:
            layout = self.camera_layout if form.bake else self.layout
            image = TensorNotes(
                inputs[0],
                description=input_sentence(network, form, layout),
                color_space=COLOR_SPACES.get(network.input_shape[0]) if left else None,
                pixel_mean=left.pixel_mean if left else (),
                pixel_std=left.pixel_std if left else (),
            )
            labels_file = LABELS_FILE if form.labels else ""
            scores = TensorNotes(outputs[0], description=output_sentence(form), labels_file=labels_file)
            others = [[TensorNotes(name) for name in names[1:]] for names in (inputs, outputs)]
            file.describe(network.address, [image, *others[0]], [scores, *others[1]])
        if form.labels:
            file.attach({LABELS_FILE: label_lines(form)})
        return file.content()


plugin: type[Exporter] = TFLite

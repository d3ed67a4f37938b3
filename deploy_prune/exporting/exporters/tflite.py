"""Writes .tflite files with litert-torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deploy_prune.errors import ConfigError
from deploy_prune.exporting.converter import find_version
from deploy_prune.exporting.exporters import PLAIN, Calibration, Exporter
from deploy_prune.exporting.identity import identify
from deploy_prune.exporting.metadata import describe_input, describe_output, find_preprocessing, join_labels
from deploy_prune.exporting.steps import Asked, Draft, Step, fold_norms, rewrite_operators, write_in_steps
from deploy_prune.formats.tflite_file import TFLiteFile
from deploy_prune.formats.tflite_metadata import COLOR_SPACES, TensorNotes
from deploy_prune.values import FP32, NETWORK_DIGEST, AppForm, Layout, Network, Precision

LABELS_FILE = "labels.txt"
SPARSE = "sparse_weights"
"""The name of the note that says what a file leaves out."""


@dataclass(frozen=True)
class TFLite:
    """One .tflite file at batch 1.

    Where normalisation or labels are known, the file carries them as TensorFlow Lite's model metadata: in the units of
    pixels from 0 to 255 (mean 0 and std 1 where preprocessing is baked in), the labels in an attached `labels.txt`.
    """

    suffix: ClassVar[str] = ".tflite"
    runtime: ClassVar[str] = "litert"
    camera_layout: ClassVar[Layout] = "nhwc"
    precisions: ClassVar[tuple[Precision, ...]] = (FP32,)

    layout: Layout = "nhwc"
    """The layout of image inputs. Cameras and LiteRT's kernels are channels last; "nchw" adds a transpose."""
    sparse: bool = False
    """Leave out zeros of 1x1 convolutions, so that XNNPACK skips them; refused where it would not."""

    def __post_init__(self) -> None:
        if self.layout not in {"nhwc", "nchw"}:
            raise ConfigError(f".tflite files cannot be written in layout '{self.layout}'", hint="known: nhwc, nchw")

    @property
    def dynamic_batch(self) -> bool:
        """LiteRT plans its memory for one size."""
        return False

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        return f"litert-torch {find_version('litert-torch', extra='tflite')}"

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = FP32, calibration: Calibration = None) -> None:  # fmt: skip
        """Convert in eval mode and write one file; see `Exporter.write`."""
        write_in_steps(STEPS, Asked(self, network, form, precision, calibration), path)


def put_channels_last(draft: Draft[TFLite]) -> Draft[TFLite]:
    """Have the module take images as (batch, height, width, channels), unless preprocessing does so already."""
    import litert_torch

    if draft.asked.exporter.layout == "nchw" or draft.asked.form.bake:
        return draft
    images = [index for index, tensor in enumerate(draft.inputs) if tensor.ndim > 2]
    module = litert_torch.to_channel_last_io(draft.module, args=images).eval()
    inputs = tuple(tensor.movedim(1, -1).contiguous() if tensor.ndim > 2 else tensor for tensor in draft.inputs)
    return replace(draft, module=module, inputs=inputs)


def convert(draft: Draft[TFLite]) -> Draft[TFLite]:
    """Convert the module; the model is the parsed file."""
    import litert_torch

    return replace(draft, model=TFLiteFile(litert_torch.convert(draft.module, draft.inputs).model_content()))


def fold_padding(draft: Draft[TFLite]) -> Draft[TFLite]:
    """Leave no padding before a convolution that could pad by itself."""
    draft.model.fold_padding()
    return draft


def leave_out_zeros(draft: Draft[TFLite]) -> Draft[TFLite]:
    """Store 1x1 convolutions without their zeros, if that is asked for, and note how many in the file."""
    if draft.asked.exporter.sparse:
        draft.model.note(SPARSE, draft.model.store_sparse())
    return draft


def name_tensors(draft: Draft[TFLite]) -> Draft[TFLite]:
    """Name inputs and outputs as the form asks, in the order of the network's forward."""
    draft.model.rename(draft.asked.form.input_names, draft.asked.form.output_names)
    return draft


def describe(draft: Draft[TFLite]) -> Draft[TFLite]:
    """Say which network this is and what is known of the image and the scores, and attach the labels."""
    file: TFLiteFile = draft.model
    network, form = draft.asked.network, draft.asked.form
    file.note(NETWORK_DIGEST, identify(network).digest)
    left = find_preprocessing(network, form)
    if not (left or form.labels):
        return draft
    image = TensorNotes(
        file.input_names[0],
        description=describe_input(network, form, draft.asked.layout),
        color_space=COLOR_SPACES.get(network.input_shape[0]) if left else None,
        pixel_mean=left.pixel_mean if left else (),
        pixel_std=left.pixel_std if left else (),
    )
    labels_file = LABELS_FILE if form.labels else ""
    scores = TensorNotes(file.output_names[0], description=describe_output(form), labels_file=labels_file)
    other_inputs, other_outputs = (
        [TensorNotes(name) for name in names[1:]] for names in (file.input_names, file.output_names)
    )
    file.describe(network.address, [image, *other_inputs], [scores, *other_outputs])
    if form.labels:
        file.attach({LABELS_FILE: join_labels(form)})
    return draft


def serialise(draft: Draft[TFLite]) -> Draft[TFLite]:
    """The bytes of the file."""
    return replace(draft, content=draft.model.content())


STEPS: tuple[Step[TFLite], ...] = (
    fold_norms, rewrite_operators, put_channels_last, convert, fold_padding, leave_out_zeros, name_tensors, describe,
    serialise,
)  # fmt: skip
plugin: type[Exporter] = TFLite

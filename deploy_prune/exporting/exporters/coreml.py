"""Writes .mlpackage folders (ML programs for iOS 16, macOS 13 and newer) with coremltools.

coremltools 9.0 was tested by its makers with torch 2.7. What we found with newer ones, and do about it:

- The way through `torch.jit.trace` fails with numpy 2.4 wherever a network computes with sizes ("only 0-dimensional
  arrays can be converted to Python scalars": `int` of an array of one number; EfficientNet-Lite's padding, ShuffleNet's
  channel shuffle). So we take the way through `torch.export`.
- `torch.export` leaves `aten.alias` where a slice takes everything (GhostNet), which coremltools does not know: it is
  decomposed to a copy.
- That way names inputs after the arguments of `forward` and outputs after operators: they are renamed in the result.
- Importing it imports every framework that it could convert from, and pages of their own warnings: the ones not needed
  here are hidden meanwhile (4.5 s become 0.4).
- The manifest has new random identifiers every time; ours depend on nothing, so that the same network gives the same
  bytes.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.exporting.app_interface import as_called
from deploy_prune.exporting.converter import vendor_errors
from deploy_prune.exporting.exporters import PLAIN, Exporter
from deploy_prune.exporting.metadata import as_text, facts, input_sentence, output_sentence
from deploy_prune.formats.tensor_names import names
from deploy_prune.values import AppForm, Layout, Network, Precision
from deploy_prune.version import __version__

MANIFEST = "Manifest.json"
SPECIFICATION = Path("com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("com.apple.CoreML/weights")
IDENTIFIERS = {
    SPECIFICATION: ("00000000-0000-4000-8000-000000000001", "CoreML Model Specification"),
    WEIGHTS: ("00000000-0000-4000-8000-000000000002", "CoreML Model Weights"),
}
"""Of the parts of a package; they need only differ within it."""
UNUSED = ("executorch", "sklearn", "scipy", "tensorflow", "torchao", "transformers", "xgboost")
"""What coremltools imports only to know whether it is there."""
COLOR_SPACES = {1: 10, 3: 20}
"""Channels -> Core ML's number of grey and of red, green, blue."""


@dataclass(frozen=True)
class CoreML:
    """One .mlpackage at batch 1."""

    suffix: ClassVar[str] = ".mlpackage"
    runtime: ClassVar[str] = "coreml"
    camera_layout: ClassVar[Layout] = "nchw"

    precision: Precision = "fp32"
    """Of weights and activations. Core ML's own default is "fp16", which its GPU and neural engine need."""

    def __post_init__(self) -> None:
        if self.precision not in {"fp32", "fp16"}:
            raise ConfigError(f"precision '{self.precision}' of coreml", hint="known: fp32, fp16")

    @property
    def layout(self) -> Layout:
        """Core ML's tensors are channels first."""
        return "nchw"

    @property
    def dynamic_batch(self) -> bool:
        """Apps run images one at a time; the neural engine takes fixed shapes alone."""
        return False

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        try:
            return f"coremltools {version('coremltools')}"
        except PackageNotFoundError as error:
            raise MissingDependency("coremltools", "coreml") from error

    def write(self, network: Network, path: Path, form: AppForm = PLAIN) -> None:
        """Convert in eval mode and write one folder.

        Raises:
            ExportFailed: NaN in the weights, or coremltools refuses the network.
            MissingDependency: coremltools is not installed.
        """
        module, inputs = as_called(network, form, camera_layout=self.camera_layout)
        inputs = tuple(tensor.float() for tensor in inputs)  # inside, an image input is a tensor of floats
        with vendor_errors(self.version(), network), tempfile.TemporaryDirectory() as folder:
            model = self._convert(module, inputs)
            saved = Path(folder) / "model.mlpackage"
            model.save(str(saved))
            specification = _described(model.get_spec(), network, form)
            weights = _files(saved / "Data" / WEIGHTS)
        _write_package(path, specification, weights)

    def _convert(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        coremltools = _package()
        program = torch.export.export(module, inputs)
        return coremltools.convert(
            program.run_decompositions({torch.ops.aten.alias.default: torch.clone}),
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=coremltools.precision[{"fp32": "FLOAT32", "fp16": "FLOAT16"}[self.precision]],
            skip_model_load=True,  # loading takes an Apple device
        )


def _described(specification: Any, network: Network, form: AppForm) -> bytes:
    """The specification with inputs and outputs named as in the other formats, an image input declared as one, and what
    is known of preprocessing and labels in the metadata that the app defines.
    """
    import coremltools

    description = specification.description
    roles = (("input", description.input, form.input_names), ("output", description.output, form.output_names))
    for role, features, given in roles:
        for feature, name in zip(list(features), names(role, given, len(features)), strict=True):
            if feature.name != name:
                coremltools.utils.rename_feature(specification, feature.name, name)
    if form.input == "uint8":
        channels, height, width = network.input_shape
        image = description.input[0].type.imageType
        image.height, image.width, image.colorSpace = height, width, COLOR_SPACES[channels]
    description.input[0].shortDescription = input_sentence(network, form, "nchw")
    description.output[0].shortDescription = output_sentence(form)
    description.metadata.shortDescription = f"{network.address}, written by deploy-prune {__version__}"
    description.metadata.userDefined.update(as_text(facts(network, form, "nchw")))
    content: bytes = specification.SerializeToString(deterministic=True)
    return content


def _package() -> Any:
    """coremltools. What was imported before stays visible, as hiding it would save nothing."""
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, None))  # type: ignore[arg-type]  # None: whoever imports it is told that it is not there
    try:
        return importlib.import_module("coremltools")
    finally:
        for name in hidden:
            del sys.modules[name]


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.is_dir() else {}


def _write_package(path: Path, specification: bytes, weights: dict[str, bytes]) -> None:
    data = path / "Data"
    (data / SPECIFICATION).parent.mkdir(parents=True)
    (data / SPECIFICATION).write_bytes(specification)
    parts = [SPECIFICATION, *([WEIGHTS] if weights else [])]
    for name, content in weights.items():
        (data / WEIGHTS).mkdir(exist_ok=True)
        (data / WEIGHTS / name).write_bytes(content)
    entries = {
        IDENTIFIERS[part][0]: {
            "author": "com.apple.CoreML",
            "description": IDENTIFIERS[part][1],
            "name": part.name,
            "path": part.as_posix(),
        }
        for part in parts
    }
    root = IDENTIFIERS[SPECIFICATION][0]
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": root}
    (path / MANIFEST).write_text(json.dumps(manifest, indent=4) + "\n")


plugin: type[Exporter] = CoreML

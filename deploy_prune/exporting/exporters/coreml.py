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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from deploy_prune.exporting.converter import find_version
from deploy_prune.exporting.exporters import PLAIN, Calibration, Exporter
from deploy_prune.exporting.metadata import collect_facts, describe_input, describe_output, write_as_text
from deploy_prune.exporting.rewriting.rewrite import rewrite
from deploy_prune.exporting.steps import Asked, Draft, Step, write_in_steps
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.scratch import make_scratch
from deploy_prune.values import FP16, FP32, AppForm, Layout, Network, Precision, look_up_precision
from deploy_prune.version import __version__

MANIFEST = "Manifest.json"
SPECIFICATION = Path("com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("com.apple.CoreML/weights")
IDENTIFIERS = {
    SPECIFICATION: ("00000000-0000-4000-8000-000000000001", "CoreML Model Specification"),
    WEIGHTS: ("00000000-0000-4000-8000-000000000002", "CoreML Model Weights"),
}
"""Part of a package -> its identifier, which need only differ from the others in it, and what it is."""
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
    precisions: ClassVar[tuple[Precision, ...]] = (FP32, FP16)
    """coremltools' own default is fp16, which Apple's GPU and neural engine need."""

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
        return f"coremltools {find_version('coremltools', extra='coreml')}"

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = FP32, calibration: Calibration = None) -> None:  # fmt: skip
        """Convert in eval mode and write one folder; see `Exporter.write`."""
        write_in_steps(STEPS, Asked(self, network, form, precision, calibration), path)


@dataclass(frozen=True, eq=False)
class Package:
    """The two parts of a package."""

    specification: Any
    """Core ML's `Model` message."""
    weights: Mapping[str, bytes]
    """The content of each weight file by its name; empty where the network has no large weights."""


def take_floats(draft: Draft[CoreML]) -> Draft[CoreML]:
    """Trace with floats also where the file takes bytes: inside, an image input is a tensor of floats."""
    return replace(draft, inputs=tuple(tensor.float() for tensor in draft.inputs))


def trace(draft: Draft[CoreML]) -> Draft[CoreML]:
    """Export the module to torch's graph of operators, in forms that coremltools converts and Apple documents."""
    program = torch.export.export(draft.module, draft.inputs)
    graph: Any = program.module(check_guards=False)
    rewritten = rewrite(graph, CoreML.suffix)
    return replace(draft, model=program if rewritten is graph else torch.export.export(rewritten, draft.inputs))


def convert(draft: Draft[CoreML]) -> Draft[CoreML]:
    """Convert the graph to an ML program, and keep the specification and the weights of the package that it becomes.

    coremltools writes the whole package to a folder, which it leaves behind where it is not told one.
    """
    coremltools = import_coremltools()
    with make_scratch() as folder:
        saved = folder / "model.mlpackage"
        model = coremltools.convert(
            draft.model.run_decompositions({torch.ops.aten.alias.default: torch.clone}),
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=coremltools.precision[look_up_precision(draft.asked.precision).dtype.upper()],
            skip_model_load=True,  # loading takes an Apple device
            package_dir=str(saved),
        )
        files = saved / "Data" / WEIGHTS
        weights = {file.name: file.read_bytes() for file in files.iterdir()} if files.is_dir() else {}
    return replace(draft, model=Package(model.get_spec(), weights))


def name_tensors(draft: Draft[CoreML]) -> Draft[CoreML]:
    """Name inputs and outputs as in the other formats, in the order of the network's forward."""
    import coremltools

    specification, form = draft.model.specification, draft.asked.form
    description = specification.description
    roles = (("input", description.input, form.input_names), ("output", description.output, form.output_names))
    for role, features, given in roles:
        for feature, name in zip(list(features), give_names(role, given, len(features)), strict=True):
            if feature.name != name:
                coremltools.utils.rename_feature(specification, feature.name, name)
    return draft


def declare_image(draft: Draft[CoreML]) -> Draft[CoreML]:
    """Declare an input of bytes to be an image, which apps hand over as a pixel buffer."""
    if draft.asked.form.input == "uint8":
        channels, height, width = draft.asked.network.input_shape
        image = draft.model.specification.description.input[0].type.imageType
        image.height, image.width, image.colorSpace = height, width, COLOR_SPACES[channels]
    return draft


def describe(draft: Draft[CoreML]) -> Draft[CoreML]:
    """Say in the package what is known of preprocessing and labels."""
    network, form = draft.asked.network, draft.asked.form
    description = draft.model.specification.description
    description.input[0].shortDescription = describe_input(network, form, "nchw")
    description.output[0].shortDescription = describe_output(form)
    description.metadata.shortDescription = f"{network.address}, written by deploy-prune {__version__}"
    description.metadata.userDefined.update(write_as_text(collect_facts(network, form, "nchw")))
    return draft


def pack(draft: Draft[CoreML]) -> Draft[CoreML]:
    """The files of the package: specification, weights, and a manifest that lists them."""
    package: Package = draft.model
    content = {f"Data/{SPECIFICATION.as_posix()}": package.specification.SerializeToString(deterministic=True)}
    content |= {f"Data/{WEIGHTS.as_posix()}/{name}": weights for name, weights in package.weights.items()}
    parts = [SPECIFICATION, *([WEIGHTS] if package.weights else [])]
    return replace(draft, content=content | {MANIFEST: _write_manifest(parts)})


def _write_manifest(parts: list[Path]) -> bytes:
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
    return (json.dumps(manifest, indent=4) + "\n").encode()


def import_coremltools() -> Any:
    """Give coremltools without what it does not need here, which halves the seconds that its import takes.

    What was imported before stays visible, as hiding it would save nothing.
    """
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, None))  # type: ignore[arg-type]  # None: whoever imports it is told that it is not there
    try:
        return importlib.import_module("coremltools")
    finally:
        for name in hidden:
            del sys.modules[name]


STEPS: tuple[Step[CoreML], ...] = (
    take_floats, trace, convert, name_tensors, declare_image, describe, pack,
)  # fmt: skip
plugin: type[Exporter] = CoreML

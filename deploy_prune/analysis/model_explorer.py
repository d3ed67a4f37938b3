"""Overlays for Google's Model Explorer: what each node of a .tflite file takes, and how far it is from another format.

Model Explorer opens the file, and the overlay beside it as "custom node data": one number per node, in colours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune import plugins
from deploy_prune.analysis.explanation import Explanation
from deploy_prune.errors import InputError
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.records import write_atomic
from deploy_prune.timing.devices import Device
from deploy_prune.timing.elsewhere import open_runtime
from deploy_prune.values import Artifact, name_unit

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".tflite"
GRAPH = "main"
"""What Model Explorer calls the first graph of a .tflite file; its nodes have the numbers of the operators."""
GRADIENT = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#d7301f"}]
REFERENCE = "onnx"
"""The format whose file of the same network nodes are held against."""


def write_overlays(
    explanations: Sequence[Explanation], artifacts: Sequence[Artifact], folder: Path, device: Device
) -> tuple[Path, ...]:
    """Write `NAME.ms.json` (or `.cycles`) for every .tflite file that was explained, `NAME.error.json` where it can be.

    Args:
        explanations: of files, or of a run.
        artifacts: the files of the run; the ONNX file of the same name is the reference of a .tflite file.
        folder: where the overlays go.
        device: where the files are run once.

    Raises:
        InputError: there is no .tflite file among them.
        StorageError: the file system refuses.
    """
    overlays: dict[str, Mapping[int, float]] = {}
    for each in explanations:
        for path, layers in ((each.before, [pair.before for pair in each.layers]),
                             (each.after, [pair.after for pair in each.layers])):  # fmt: skip
            if Path(path).suffix == SUFFIX:
                times = {layer.place: layer.ms for layer in layers if layer and layer.place is not None}
                overlays[f"{Path(path).stem}.{name_unit(each.unit)}.json"] = times
    if not overlays:
        raise InputError("Model Explorer shows .tflite files, and none was explained", hint="name one, or leave it out")
    references = {Path(each.path).stem: each for each in artifacts if each.format == REFERENCE}
    for artifact in artifacts:
        stem = Path(artifact.path).stem
        if artifact.path.endswith(SUFFIX) and stem in references and is_comparable(artifact):
            overlays[f"{stem}.error.json"] = measure_node_errors(artifact, references[stem], device)
    return tuple(_write(folder / name, values) for name, values in overlays.items())


def is_comparable(artifact: Artifact) -> bool:
    """Whether its nodes can be held against another file's: it takes one image of normalised numbers."""
    return len(artifact.input_shape) == 3 and not artifact.baked


def measure_node_errors(artifact: Artifact, reference: Artifact, device: Device) -> dict[int, float]:
    """How far the result of each operator is from the closest of the reference's results that are as large.

    Args:
        artifact: a .tflite file.
        reference: the same network in a format of channels first.
        device: where both are run once, on the same random image, without delegates.

    Returns:
        Place of the operator -> max |difference| / max |reference|. What the reference has no result like is left out.

    Raises:
        InputError: a file does not run; MissingDependency: a runtime is not installed.
    """
    import numpy as np

    image = np.random.default_rng(0).standard_normal((1, *artifact.input_shape)).astype(np.float32)
    ours = _run_layers(artifact, image, device)
    theirs = _sort_by_size(_run_layers(reference, image, device))
    operators = plugins.build(TEMPLATES, artifact.format).read(Path(artifact.path).read_bytes()).structure.operators
    places = [place for place, operator in enumerate(operators) for _ in operator.outputs]
    errors: dict[int, float] = {}
    for place, result in zip(places, ours, strict=False):
        for order in theirs.get(result.size, ()):
            error = float(np.abs(result.ravel() - order).max() / max(float(np.abs(order).max()), 1e-30))
            errors[place] = min(error, errors.get(place, error))
    return errors


def _run_layers(artifact: Artifact, image: np.ndarray, device: Device) -> list[np.ndarray]:
    import numpy as np

    moved = np.moveaxis(image, 1, -1) if artifact.layout == "nhwc" else image
    with open_runtime(device, artifact.runtime) as runtime:
        results = runtime.open(Path(artifact.path), threads=1).layers(np.ascontiguousarray(moved))
    return [np.asarray(each) for each in results.values()]


def _sort_by_size(results: Sequence[np.ndarray]) -> dict[int, list[np.ndarray]]:
    """Results of floats by their count of elements, each as it is and with channels moved last, flat."""
    import numpy as np

    sorted_: dict[int, list[np.ndarray]] = {}
    for each in results:
        if each.dtype.kind == "f" and each.size:
            orders = [each.ravel(), *([np.moveaxis(each, 1, -1).ravel()] if each.ndim > 2 else [])]
            sorted_.setdefault(each.size, []).extend(orders)
    return sorted_


def _write(path: Path, values: Mapping[int, float]) -> Path:
    results = {str(place): {"value": value} for place, value in sorted(values.items())}
    text = json.dumps({GRAPH: {"results": results, "gradient": GRADIENT}}, indent=1) + "\n"
    write_atomic(path, partial(_write_text, text))
    return path


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")

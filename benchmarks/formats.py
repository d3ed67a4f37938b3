"""Eleven networks, dense and cut to half their MACs, in five formats: converted, verified, size, seconds, error.

    python -m benchmarks.formats [--only NAME ...] [--table]

Every network and variant is a file under `results/formats/`: a killed table goes on where it was, a cell that lacks
formats gets those, and `--table` writes what there is. Weights and norms are random: of the seeds 0, 1, 2, ... the
first with which the network itself rounds by no more than 1e-5 on 24 inputs (fp32 against fp64), as some random
networks multiply their rounding beyond any limit. The images are the embedded digits in the network's size, 200 of
them, 40 for VGG; 4 for Core AI (40 in the cells of ResNet-56, ShuffleNetV2 and MobileNetV2), whose
runtime takes seconds for one on this processor. Cut networks keep random channels: once every width odd, once every
width a multiple of 16 (ResNet-56: of 8).
"seconds" is converting alone, two formats at a time (Core AI: alone). About half an hour on two idle cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.recording import RESULTS, write
from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits, dense_widths
from deploy_prune.exporting.export import export
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import cut
from deploy_prune.records import write_atomic
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.data import describe_form, normalise, read_data, read_spread
from deploy_prune.sources.networks import build_network
from deploy_prune.values import AppForm, Network, Shipment
from tests.support.laws import lively


@dataclass(frozen=True)
class Subject:
    """A network of the table."""

    address: str
    multiple: int = 16
    cuttable: bool = True
    images: int = 200


SUBJECTS = {
    "MobileNetV1": Subject("timm:mobilenetv1_100"),
    "MobileNetV2": Subject("torchvision:mobilenet_v2"),
    "MobileNetV3-large": Subject("torchvision:mobilenet_v3_large"),
    "EfficientNet-Lite0": Subject("timm:efficientnet_lite0"),
    "ResNet-18": Subject("torchvision:resnet18"),
    "ResNet-56": Subject("resnet56", multiple=8),
    "SqueezeNet": Subject("torchvision:squeezenet1_1"),
    "MNASNet": Subject("torchvision:mnasnet1_0"),
    "ShuffleNetV2": Subject("torchvision:shufflenet_v2_x1_0", cuttable=False),
    "DenseNet-121": Subject("torchvision:densenet121"),
    "VGG-16-BN": Subject("torchvision:vgg16_bn", images=40),
}
FORMATS = ("tflite", "executorch", "coreml", "onnx")
SLOW, FEW = ("coreai",), 4
"""What is run on few images, as one takes seconds, and on how many; beside the 8 random inputs."""
BUDGET = 0.5
SEEDS = 20
STEADY = 1e-5
CELLS = RESULTS / "formats"


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a file is not verified."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(SUBJECTS), choices=list(SUBJECTS), metavar="NAME")
    parser.add_argument("--table", action="store_true", help="export nothing, write the table of the cells there are")
    asked = parser.parse_args()
    for name in [] if asked.table else asked.only:
        for variant in variants(SUBJECTS[name]):
            path = CELLS / f"{name}-{variant.replace(' ', '-')}.json"
            before = json.loads(path.read_text()) if path.exists() else {"wall_s": 0.0, "formats": {}}
            if not {*FORMATS, *SLOW} <= before["formats"].keys():
                cell = json.dumps(_cell(SUBJECTS[name], variant, before), indent=1) + "\n"
                write_atomic(path, lambda temporary, text=cell: temporary.write_text(text))  # type: ignore[misc]
    return _written()


def variants(subject: Subject) -> tuple[str, ...]:
    """Dense, and the ways to cut."""
    return ("dense", "odd widths", f"multiples of {subject.multiple}") if subject.cuttable else ("dense",)


def _cell(subject: Subject, variant: str, before: dict[str, Any]) -> dict[str, Any]:
    """The cell with the formats that it lacked; its network is the same every time."""
    data = read_data("digits", size=build_network(subject.address).input_shape[1:])
    for seed in range(SEEDS):
        network, kept = _drawn(subject, variant, seed)
        rounding = _own_rounding(network, normalise(read_spread(data.val, 16), data.mean, data.std))
        if rounding <= STEADY:
            break
    form = AppForm(normalisation=describe_form(data).normalisation)
    began = time.monotonic()
    rows: list[Shipment] = []
    with tempfile.TemporaryDirectory() as folder:
        for names, count in ((FORMATS, subject.images), (SLOW, FEW)):
            lacking = [each for each in names if each not in before["formats"]]
            rows += export(network, lacking, Path(folder), images=read_spread(data.val, count), form=form)
    wall_s = before["wall_s"] + time.monotonic() - began
    print(subject.address, variant, f"{wall_s:.0f} s", {row.format: row.status for row in rows}, flush=True)
    return {
        "macs_kept": kept,
        "seed": seed,
        "own_rounding": rounding,
        "wall_s": wall_s,
        "formats": before["formats"] | {row.format: _told(row) for row in rows},
    }


def _drawn(subject: Subject, variant: str, seed: int) -> tuple[Network, float]:
    """The network and the share of its MACs that is left."""
    torch.manual_seed(seed)
    network = build_network(subject.address)
    lively(network.module, seed=seed)
    network.module.float()
    if variant == "dense":
        return network, 1.0
    return _cut(network, multiple=subject.multiple if "multiples" in variant else 1)


def _own_rounding(network: Network, images: torch.Tensor) -> float:
    inputs = torch.cat([images, torch.randn(8, *network.input_shape, generator=torch.Generator().manual_seed(0))])
    with torch.no_grad():
        single = network.module.eval()(inputs).double()
        double = copy.deepcopy(network.module).double()(inputs.double())
    return float(((single - double).abs().amax(1) / double.abs().amax(1)).max())


def _cut(network: Network, *, multiple: int) -> tuple[Network, float]:
    graph = settle(network)
    cost = plugins.build("costs", "macs").model(graph)
    dense = float(cost(dense_widths(graph.free)))
    scores = plugins.build("methods", "random").score(Study(network, graph, None, 0))
    widths = allocate(graph, scores, cost, BUDGET * dense, Limits(multiple=multiple))
    if multiple == 1:
        widths = {name: width - (width % 2 == 0) for name, width in widths.items()}
    kept = float(cost(np.array([widths[group.name] for group in graph.free]))) / dense
    return cut(network, graph, best_units(scores, widths)), kept


def _told(row: Shipment) -> dict[str, Any]:
    artifact, parity = row.artifact, row.parity
    return {
        "status": row.status,
        "reason": row.reason,
        "size_bytes": artifact.size_bytes if artifact else None,
        "seconds": artifact.seconds if artifact else None,
        "exporter": artifact.exporter if artifact else None,
        "max_error": parity.max_error if parity else None,
        "agreement": parity.agreement if parity else None,
        "images": parity.images if parity else None,
    }


def _written() -> int:
    rows = []
    for name, subject in SUBJECTS.items():
        for variant in variants(subject):
            path = CELLS / f"{name}-{variant.replace(' ', '-')}.json"
            if path.exists():
                rows.append({"network": name, "variant": variant, **json.loads(path.read_text())})
    packages = ("torch", "litert-torch", "ai-edge-litert", "onnx", "onnxruntime", "coremltools", "executorch",
                "coreai-torch", "coreai-core")  # fmt: skip
    print(write("formats", "python -m benchmarks.formats", {"rows": rows}, packages))
    return int(not all(each["status"] == "verified" for row in rows for each in row["formats"].values()))


if __name__ == "__main__":
    sys.exit(main())

"""Seconds and peak memory of OBS's moments and curves, and of the refit: MobileNetV2-224, DenseNets, 4,608 inputs.

    python -m benchmarks.refit_speed [--parts NAME ...]

Weights and images are random: neither decides how long it takes. Units go by their number, a quarter of each group.
Each part is a process of its own, whose peak memory is told beside what it had before the first image; its file under
`results/refit_speed/` is not worked out again. DenseNets, 64 x 64, show whether time grows with the work, layer by
layer. Half an hour on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import cell, stored

TABLE = "refit_speed"
MOBILENET, DENSENETS = "mobilenet_v2", ("densenet121", "densenet169", "densenet201")
INPUTS = (512, 9)
"""The units of a group, and the places of the kernel that reads them: 4,608 inputs."""
LIMIT_S = 60.0
"""Our own limit for their elimination."""


def main() -> int:
    """Work out the parts that are missing, and write the record; exits 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS), metavar="NAME")
    parser.add_argument("--part", choices=list(PARTS), help="work out this one here, and print it")
    asked = parser.parse_args()
    if asked.part:
        print(json.dumps(PARTS[asked.part]()))
        return 0
    for name in asked.parts:
        print(name, cell(TABLE, name, partial(_apart, name)), flush=True)
    rows = {name: each for name in PARTS if (each := stored(TABLE, name))}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"limit_s": LIMIT_S, "parts": rows}))
    return int("elimination-4608" in rows and rows["elimination-4608"]["elimination_s"] > LIMIT_S)


def _apart(name: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", f"benchmarks.{TABLE}", "--part", name]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _study(address: str, side: int, count: int) -> dict[str, Any]:
    """The whole way of one network: moments, elimination, and the refit of a plan of three quarters of each group."""
    import torch

    from deploy_prune.graph.soundness import settle
    from deploy_prune.graph.surgery import cut, kept_indices
    from deploy_prune.scoring.obs.curves import score_group
    from deploy_prune.scoring.obs.readings import Sampling, measure_readings
    from deploy_prune.sources.networks import build_network
    from deploy_prune.train.refit.settings import RefitSettings
    from deploy_prune.train.refit.walk import CutNetwork, Refit

    torch.manual_seed(0)
    network = build_network(f"torchvision:{address}", input_shape=(3, side, side))
    graph = settle(network)
    images = torch.randn(count, 3, side, side)
    told: dict[str, Any] = {"side": side, "images": count, "layers": len(graph.layers), "before_bytes": _peak_bytes()}
    began = time.perf_counter()
    readings = measure_readings(network, graph, images, Sampling())
    told |= {"moments_s": time.perf_counter() - began, "moments_peak_bytes": _peak_bytes()}
    began = time.perf_counter()
    for each in readings.values():
        score_group(each)
    told |= {"elimination_s": time.perf_counter() - began, "elimination_peak_bytes": _peak_bytes()}
    del readings
    keep = {group.name: tuple(range(group.width - group.width // 4)) for group in graph.free}
    scene = CutNetwork(cut(network, graph, keep), network, graph, kept_indices(graph, keep))
    refit = Refit(scene, images, RefitSettings(images=count, targets="chosen"))
    for norms in ("kept", "measured"):
        began = time.perf_counter()
        _, layers = refit.walk(norms=norms)  # type: ignore[arg-type]
        told |= {f"refit_norms_{norms}_s": time.perf_counter() - began, "refitted_layers": len(layers)}
    return {**told, "refit_peak_bytes": _peak_bytes()}


def _eliminate_alone() -> dict[str, Any]:
    """A group of 512 units that a 3 x 3 convolution of 512 outputs reads."""
    import torch

    from deploy_prune.scoring.obs.curves import score_group
    from deploy_prune.scoring.obs.elimination import Reading

    units, places = INPUTS
    generator = torch.Generator().manual_seed(0)
    products, judged = (_draw_products(units * places, generator) for _ in range(2))
    weight = torch.randn(1, units, units * places, generator=generator, dtype=torch.float64)
    columns = torch.arange(units * places).reshape(units, places)
    before, began = _peak_bytes(), time.perf_counter()
    score_group([Reading(products, None, weight, columns, 1.0, judged)])
    return {"inputs": units * places, "elimination_s": time.perf_counter() - began, "before_bytes": before,
            "elimination_peak_bytes": _peak_bytes()}  # fmt: skip


def _draw_products(inputs: int, generator: Any) -> Any:
    import torch

    rows = torch.randn(2 * inputs, inputs, generator=generator, dtype=torch.float64)
    return (rows.T @ rows / len(rows))[None]


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "elimination-4608": _eliminate_alone,
    f"{MOBILENET}-224": partial(_study, MOBILENET, 224, 250),
    **{f"{name}-64": partial(_study, name, 64, 100) for name in DENSENETS},
}


if __name__ == "__main__":
    sys.exit(main())

"""One network of each of torchvision's CNN families to half its MACs: reached, lawful, counted exactly, what is locked.

    python -m benchmarks.families

The law: the cut network equals the dense one with the removed units' parameters zeroed (not for ConvNeXt, whose norms
cross channels). The limit is held in float64; float32's error stands beside it, as a deep network of random weights can
multiply rounding far beyond the limit (EfficientNetV2-S). Predicted MACs must
equal fvcore's recount of the cut network exactly. About a minute.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.recording import write
from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits, dense_widths
from deploy_prune.graph.recount import recount
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import cut
from deploy_prune.pipeline.inspection import locked_share
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.networks import build_network
from tests.support.laws import law_error, lively

FAMILIES = (
    "alexnet", "vgg16_bn", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "squeezenet1_1",
    "inception_v3", "googlenet", "mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0",
    "efficientnet_v2_s", "regnet_y_400mf", "convnext_tiny", "shufflenet_v2_x1_0",
)  # fmt: skip
NORMS_CROSS_CHANNELS = ("convnext_tiny",)
BUDGET, LIMIT, LAW = 0.5, 0.55, 1e-5


def main() -> int:
    """Check every family; exits 1 where one misses a limit."""
    rows = {name: _row(name) for name in FAMILIES}
    print(write("families", "python -m benchmarks.families", {"networks": rows}, ("torch", "torchvision", "fvcore")))
    return int(not all(row["passed"] for row in rows.values()))


def _row(name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    network = build_network(f"torchvision:{name}", classes=10)
    lively(network.module)  # untrained weights make MobileNetV2 answer zeros, which prove nothing
    began = time.perf_counter()
    graph = settle(network)
    settled_s = time.perf_counter() - began
    cost = plugins.build("costs", "macs").model(graph)
    dense = float(cost(dense_widths(graph.free)))
    scores = plugins.build("methods", "random").score(Study(network, graph, None, 0))
    widths = allocate(graph, scores, cost, BUDGET * dense, Limits())
    keep = best_units(scores, widths)
    error = None if name in NORMS_CROSS_CHANNELS else law_error(network, graph, keep)
    network.module.float()  # fvcore runs it on float32
    rounded = None if error is None else law_error(network, graph, keep)
    small = cut(network, graph, keep)
    predicted = int(cost(np.array([widths[group.name] for group in graph.free])))
    kept, exact = predicted / dense, predicted == recount(small).macs
    passed = kept <= LIMIT and exact and (error is None or error <= LAW)
    row = {
        "macs": int(dense), "macs_kept": kept, "recount_exact": exact, "law_error": error, "law_error_float32": rounded,
        "locked_share": locked_share(graph), "groups": len(graph.groups), "free_groups": len(graph.free),
        "settled_s": settled_s, "passed": passed,
    }  # fmt: skip
    print(name, row, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())

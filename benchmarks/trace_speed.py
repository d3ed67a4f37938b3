"""Seconds from a network to its channel groups, beside Torch-Pruning's dependency graph, in one run.

    python -m pip install --no-deps torch-pruning==1.6.1 && python -m benchmarks.trace_speed

Both get the same module and input size, in turns; the ratio is what counts. `settled` is our trace plus the probing cut
that finds sizes baked into the forward pass, which Torch-Pruning does not look for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.recording import write
from deploy_prune.graph import trace
from deploy_prune.graph.soundness import settle
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Network

NETWORKS = {"mobilenet_v2": 0.3, "resnet50": None, "densenet201": 2.0}
"""Torchvision names, with the seconds that we set ourselves as a limit for `traced`."""


def main() -> int:
    """Time every network, print and record; exits 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = {}
    for name, limit in NETWORKS.items():
        network = build_network(f"torchvision:{name}")
        slow = name.startswith("densenet")
        rows[name] = _row(network, rounds=2 if slow else rounds) | {"limit_s": limit}
        print(name, rows[name], flush=True)
    print(write("trace_speed", "python -m benchmarks.trace_speed", {"networks": rows}, ("torch", "torch-pruning")))
    return int(any(row["limit_s"] is not None and row["traced_s"] > row["limit_s"] for row in rows.values()))


def _row(network: Network, *, rounds: int) -> dict[str, Any]:
    arms: dict[str, Callable[[], object]] = {
        "traced": lambda: trace(network),
        "settled": lambda: settle(network),
        "torch_pruning": lambda: _dependency_graph(network),
    }
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    for arm in arms.values():
        arm()
    for _ in range(rounds):
        for name, arm in arms.items():
            began = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - began)
    medians = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    ratios = [theirs / ours for ours, theirs in zip(seconds["traced"], seconds["torch_pruning"], strict=True)]
    return {**medians, "torch_pruning_over_traced": statistics.median(ratios), "samples_s": seconds}


def _dependency_graph(network: Network) -> object:
    """What its documentation calls for: build the graph, then list the groups."""
    import torch_pruning

    graph = torch_pruning.DependencyGraph().build_dependency(
        network.module, example_inputs=torch.randn(1, *network.input_shape)
    )
    return list(graph.get_all_groups(root_module_types=[torch.nn.Conv2d, torch.nn.Linear]))


if __name__ == "__main__":
    sys.exit(main())

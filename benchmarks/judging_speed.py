"""How much faster images are judged channels last than in torch's usual layout, on the CPU, in turns.

    python -m benchmarks.judging_speed

What `evaluate` gives the network is a batch of 256 images of 32 x 32, or of 64 of 224 x 224. Three minutes on an idle
machine.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.recording import write
from benchmarks.trained import dense
from deploy_prune import stats

TABLE = "judging_speed"
JUDGED = ("resnet20", "resnet56", "mobilenet_v1_72", "mobilenet_v2_72", "mobilenet_v2_imagenet")
ROUNDS, BATCHES = 9, {32: 256, 224: 64}
LAYOUTS = {"usual": torch.contiguous_format, "channels last": torch.channels_last}


def main() -> int:
    """Time every network, and write the table; exits 1 where one is judged more slowly."""
    rows = {name: _time(name) for name in JUDGED}
    for name, row in rows.items():
        print(name, row["ratio"], row["interval"], flush=True)
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"networks": rows}))
    return int(any(row["ratio"] > 1 for row in rows.values()))


def _time(name: str) -> dict[str, Any]:
    network = dense(name)
    module, (shape,) = network.module.eval(), network.input_shapes
    images = torch.randn(BATCHES[shape[-1]], *shape, generator=torch.Generator().manual_seed(0))
    batches = {layout: images.contiguous(memory_format=form) for layout, form in LAYOUTS.items()}
    rounds = [{layout: _run_s(module, batch) for layout, batch in batches.items()} for _ in range(ROUNDS + 1)][1:]
    ratios = [each["channels last"] / each["usual"] for each in rounds]
    seconds = {layout: [each[layout] for each in rounds] for layout in LAYOUTS}
    return {**seconds, "ratio": stats.median(ratios), "interval": stats.bootstrap(ratios, stats.median, seed=0)}


def _run_s(module: nn.Module, batch: Tensor) -> float:
    began = time.perf_counter()
    with torch.inference_mode():
        module(batch)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())

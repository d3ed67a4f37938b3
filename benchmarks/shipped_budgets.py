"""Whether `prune --budget X ms` ships a file that takes X ms: ten budgets over two networks, timed again afterwards.

    python -m benchmarks.shipped_budgets [--table]

Whole runs of the pipeline without training (weights are random: times do not depend on them) on the embedded digits;
then the shipped file is timed once more against the dense one in a session of its own. A file meets its budget between
0.93 and 1.03 of it, or below where the next stair lies above. Every budget is a file under `results/shipped_budgets/`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import STORE, cell, stored
from deploy_prune.budget.latency.timer import timer
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.run import prune
from deploy_prune.records import to_json
from deploy_prune.timing.bracketing import Pace
from deploy_prune.timing.devices import THIS_MACHINE, device_at

TABLE = "shipped_budgets"
SHARES = (0.8, 0.7, 0.6, 0.5, 0.4)
"""The budgets, as shares of the dense network's milliseconds."""
NETWORKS = {
    "MobileNetV2-128": {"model": "torchvision:mobilenet_v2", "input_shape": (3, 128, 128)},
    "ResNet-20": {"model": "resnet20", "input_shape": (3, 32, 32)},
}
PROMISED = (0.93, 1.03)
PACE, OPENINGS = Pace(blocks=4, block_ms=40.0, repeats=40), 12
"""How it is timed again: in many short sittings, as one opening of a file is up to some percent off while it lasts."""


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="run nothing, write the table of the cells there are")
    asked = parser.parse_args()
    for name, settings in NETWORKS.items():
        for share in () if asked.table else SHARES:
            row = cell(TABLE, f"{name}-{share}", lambda s=settings, x=share: _cell(s, x))  # type: ignore[misc]
            print(name, share, row["shipped_of_budget"], row["again_of_budget"], flush=True)
    return _written()


def _cell(settings: dict[str, Any], share: float) -> dict[str, Any]:
    config = RunConfig(
        **settings,
        data="digits",
        budget=f"latency={share}x",
        finetune=None,
        recalibrate_images=0,
        targets=("tflite",),
        store=STORE,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        summary = prune(config, run)
        closing, shipped = summary.plan.closing, summary.shipped_time
        assert closing
        assert shipped
        dense, pruned = ((run / "export-1" / f"{name}.tflite").read_bytes() for name in ("dense", "pruned"))
        with timer(
            dense, ".tflite", closing.target, pace=PACE, openings=OPENINGS, device=device_at(THIS_MACHINE)
        ) as timed:
            again = timed(pruned)
    limit = closing.limit
    return {
        "budget_ms": limit,
        "reference_ms": closing.reference,
        "attempts": [to_json(attempt) for attempt in closing.attempts],
        "shipped_of_budget": shipped[0] / limit,
        "again_of_budget": again.ratio * closing.reference / limit,
        "again_interval": [end * closing.reference / limit for end in again.interval],
        "macs": summary.cut.count.macs / summary.dense.count.macs,
        "met": PROMISED[0] <= again.ratio * closing.reference / limit <= PROMISED[1],
    }


def _written() -> int:
    rows = {(name, share): stored(TABLE, f"{name}-{share}") for name in NETWORKS for share in SHARES}
    cells = [{"network": name, "share": share, **row} for (name, share), row in rows.items() if row]
    result = {"promised": PROMISED, "met": sum(row["met"] for row in cells), "rows": cells}
    print(write(TABLE, "python -m benchmarks.shipped_budgets", result, ("ai-edge-litert", "litert-torch", "torch")))
    return int(not all(row["met"] for row in cells))


if __name__ == "__main__":
    sys.exit(main())

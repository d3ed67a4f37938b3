"""What pruned files really save (E9): ResNet-20's networks of E4, E6 and E8 on LiteRT, one thread, one image.

    python -m benchmarks.speedups

LeGR's widths at 50 and 40 % of the MACs (inner mode, a seed's ranking each), half of all inner channels as DCP cuts
them, and half of all kernels masked by DKP. All are really exported and timed against the dense file, turn by turn.
Gates: where at most half of the MACs are left, the file is at least 0.6 x as many times faster as it has fewer MACs; no
interval is wider than 3 % to either side; masked kernels that were not promoted save nothing. Three minutes on an idle
machine; the rankings are those of `benchmarks.legr`.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.legr import found_by
from benchmarks.recording import write
from benchmarks.selections import halves, small
from benchmarks.subjects import files
from benchmarks.trained import SEEDS, Pruned, images
from deploy_prune import plugins
from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.timer import timer
from deploy_prune.graph.recount import recount
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.methods.dkp import Dkp
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import Network, Selection

SHARES = (0.5, 0.4)
PLACE = Place("litert", THIS_MACHINE)
OPENINGS = 8
LEAST, WIDEST = 0.6, 0.03
KERNELS = "half of the kernels, masked (DKP, reconstructed)"


def main() -> int:
    """Measure, write, and fail where a gate does."""
    subject = Pruned.of("resnet20", images(), scope="inner")
    networks = _networks(subject)
    dense, *others = files([subject.network, *networks.values()], PLACE)
    whole = recount(subject.network).macs
    rows: dict[str, dict[str, Any]] = {}
    suffix = plugins.load("templates", "tflite").suffix
    with timer(dense, suffix, PLACE.target, openings=OPENINGS, device=device_at(THIS_MACHINE)) as timed:
        for (name, network), content in zip(networks.items(), others, strict=True):
            comparison = timed(content)
            rows[name] = {"macs_kept": recount(network).macs / whole, "ratio": comparison.ratio,
                          "ratio_interval": list(comparison.interval)}  # fmt: skip
            rows[name]["gates"] = _gates(**rows[name])
            print(name, rows[name], flush=True)
    print(write("speedups", "python -m benchmarks.speedups", {"least": LEAST, "widest": WIDEST, "rows": rows},
                ("torch", "ai-edge-litert", "litert-torch")))  # fmt: skip
    return int(not all(passed for row in rows.values() for passed in row["gates"].values()))


def _networks(subject: Pruned) -> dict[str, Network]:
    cost, networks = subject.cost(), {}
    whole = subject.whole(cost)
    for share in SHARES:
        for seed in SEEDS:
            keep = subject.keep(found_by(subject, seed), cost, share * whole)
            networks[f"LeGR at {share}x, seed {seed}"] = cut(subject.network, subject.graph, keep)
    keep = {name: tuple(range(width)) for name, width in halves(subject).items()}
    networks["half of the inner channels (DCP)"] = small(subject, Selection(keep))
    quick = Dkp(rate=0.5, steps=8, images=256, head_epochs=1)  # time does not depend on which kernels are masked
    networks[KERNELS] = small(subject, quick.select(subject.study(cost, 0.0, seed=0), {}))
    return networks


def _gates(macs_kept: float, ratio: float, ratio_interval: list[float]) -> dict[str, bool]:
    low, high = ratio_interval
    gates = {"narrow": (high - low) / 2 <= WIDEST * ratio}
    if macs_kept <= 0.5:
        gates["fast"] = 1 / ratio >= LEAST / macs_kept
    if macs_kept == 1:
        gates["nothing saved"] = abs(ratio - 1) <= WIDEST
    return gates


if __name__ == "__main__":
    sys.exit(main())

"""How long DCP's selection takes on ResNet-56, CIFAR-10: half of the channels of all 27 inner groups, 2,048 images.

    python -m benchmarks.selection_speed

As published it is 50 million image-passes of partial networks. Limit: 10 minutes on two cores, heads included. Run it
on an idle machine.
"""

from __future__ import annotations

import sys
import time

import torch

from benchmarks.recording import write
from benchmarks.selections import halves, small
from benchmarks.trained import Pruned, images
from deploy_prune.scoring.methods.dcp import Dcp
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recalibration import recalibrate_norms

LIMIT_S = 600
SETTINGS = Dcp(images=2048)


def main() -> int:
    """Measure, write, and fail where the limit is missed."""
    data = images()
    subject = Pruned.of("resnet56", data, scope="inner")
    widths = halves(subject)
    study = subject.study(subject.cost(), 0.0, seed=0, progress=lambda *told: print(*told, flush=True))
    began = time.monotonic()
    selection = SETTINGS.select(study, widths)
    seconds = time.monotonic() - began
    left = small(subject, selection)
    result = {
        "seconds": seconds, "limit_s": LIMIT_S, "images": SETTINGS.images, "threads": torch.get_num_threads(),
        "groups": len(widths), "channels": sum(widths.values()),
        "cut": evaluate(left, data.test, data).value,
        "recalibrated": evaluate(recalibrate_norms(left, data), data.test, data).value,
    }  # fmt: skip
    print(write("selection_speed", "python -m benchmarks.selection_speed", result))
    return int(seconds > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())

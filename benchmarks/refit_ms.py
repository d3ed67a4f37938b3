"""Accuracy at equal *measured* LiteRT ms without training or labels: obs, LeGR, uniform, Torch-Pruning; then trained.

    python -m benchmarks.refit_ms [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--shares SHARE ...]
                                  [--arms ARM ...] [--train]

CIFAR-10 networks at 0.5x and 0.35x of the dense network's time on LiteRT, one thread, full scope, judged on all test
images (see `benchmarks/untrained.py`). The seed draws the 512 images of obs and of the refit, and LeGR's search of 60
candidates. Plans want an idle machine, an hour and a half of it; with `--train` all that was planned is trained as
well, 10,000 images x 3, which takes two minutes a cell.
"""

from __future__ import annotations

import sys

from benchmarks.trained import DATA, images
from benchmarks.untrained import BY_UNITS, METHODS, THEIRS, Table, run

NETWORKS = ("mobilenet_v2_72", "mobilenet_v1_72", "resnet20", "resnet56")
WIDTHS = ("legr", "uniform", THEIRS)
"""Plans whose widths are filled by OBS's order, too."""
ARMS = (*METHODS, "legr", THEIRS, f"{THEIRS}{BY_UNITS}magnitude", *(f"{plan}{BY_UNITS}obs" for plan in WIDTHS))
TABLE = Table("refit_ms", NETWORKS, (0.5, 0.35), images, DATA, arms=ARMS, trains=True)

if __name__ == "__main__":
    sys.exit(run(TABLE, __doc__))

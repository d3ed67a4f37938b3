"""Accuracy at equal *measured* LiteRT ms without training or labels: obs against uniform, magnitude and Torch-Pruning.

    python -m benchmarks.refit_ms [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--shares SHARE ...]

CIFAR-10 networks at 0.5x and 0.35x of the dense network's time on LiteRT, one thread, full scope, judged on all test
images (see `benchmarks/untrained.py`). The seed draws the 512 images of obs and of the refit. An hour and a half on two
idle cores, which timing needs.
"""

from __future__ import annotations

import sys

from benchmarks.trained import DATA, images
from benchmarks.untrained import Table, run

TABLE = Table("refit_ms", ("mobilenet_v2_72", "mobilenet_v1_72", "resnet20"), (0.5, 0.35), images, DATA)

if __name__ == "__main__":
    sys.exit(run(TABLE, __doc__))

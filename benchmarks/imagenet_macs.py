"""ImageNet's MobileNets at equal MACs, without training or labels, from 250 images.

    python -m benchmarks.imagenet_macs [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--shares SHARE ...]

The same as `benchmarks/imagenet_ms.py` at 0.86x, 0.80x and 0.73x of the MACs, where nothing is timed: a busy machine
may work it out. An hour and a half a network on two idle cores.
"""

from __future__ import annotations

import dataclasses
import sys

from benchmarks.aimed import aim_at_macs
from benchmarks.imagenet_ms import TABLE as IN_MS
from benchmarks.untrained import run

TABLE = dataclasses.replace(IN_MS, name="imagenet_macs", shares=(0.86, 0.8, 0.73), aim=aim_at_macs)

if __name__ == "__main__":
    sys.exit(run(TABLE, __doc__))

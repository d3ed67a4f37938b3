"""Seconds until a folder of 20,000 small JPEGs is open as a data set, the first time and the second.

    python -m benchmarks.image_start [--images N]

The images are drawn anew in a temporary folder, in 100 classes; one in a thousand is truncated. Every start is a fresh
`read_data` with a cache folder of its own, which the second start finds as the first left it, after all broken images
have been met. The files were just written, so that their names are in the system's cache.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.recording import write
from deploy_prune.sources.data import read_data
from deploy_prune.values import Data

CLASSES = 100
BROKEN_EVERY = 1000
SIDE = 64
LIMITS_S = {"first": 3.0, "second": 1.5}


def main() -> int:
    """Time both starts, print and record; exits 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        root = Path(folder) / "images"
        draw(root, images)
        seconds = {}
        for name in LIMITS_S:
            seconds[name], data = start(root)
            meet_all(data)
    print(seconds, flush=True)
    result = {"images": images, "side": SIDE, "seconds": seconds, "limits_s": LIMITS_S}
    print(write("image_start", "python -m benchmarks.image_start", result, ("pillow",)))
    return int(any(seconds[name] >= limit for name, limit in LIMITS_S.items()))


def draw(root: Path, images: int) -> None:
    """Write that many JPEGs of noise, one in a thousand of them without its second half."""
    generator = np.random.default_rng(0)
    buffer = io.BytesIO()
    for number in range(images):
        buffer.seek(0)
        buffer.truncate()
        Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(buffer, "JPEG")
        content = buffer.getvalue()
        path = root / f"class-{number % CLASSES:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[: len(content) // 2] if number % BROKEN_EVERY == 7 else content)


def start(root: Path) -> tuple[float, Data]:
    """Open the data set; how many seconds that took."""
    began = time.perf_counter()
    data = read_data(f"imagefolder:{root}", size=(SIDE, SIDE))
    return time.perf_counter() - began, data


def meet_all(data: Data) -> None:
    """Read every image once, so that all that are broken have been met."""
    for split in (data.train, data.val, data.test):
        for part in np.array_split(np.arange(len(split)), 100):
            split.read(part)


if __name__ == "__main__":
    sys.exit(main())

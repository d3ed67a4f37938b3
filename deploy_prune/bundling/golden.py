"""Golden pairs: images as a camera gives them, what preprocessing makes of them, and what a file answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.bundling.manifest import ImageInput
from deploy_prune.errors import ParityFailed
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.timing.elsewhere import open_runtime
from deploy_prune.values import WHITE, Layout, Normalisation

if TYPE_CHECKING:
    import numpy as np

IMAGES = 8


def draw_pixels(shape: tuple[int, int, int], count: int = IMAGES, *, seed: int = 0) -> np.ndarray:
    """Draw images: half of them noise, half of them smooth, as photographs are.

    Args:
        shape: channels, height, width.
        count: how many.
        seed: the same seed gives the same images.

    Returns:
        uint8 (images, height, width, channels).
    """
    import numpy as np

    channels, height, width = shape
    draw = np.random.default_rng(seed)
    noise = draw.integers(0, WHITE + 1, (count - count // 2, height, width, channels), dtype=np.uint8)
    corners = draw.uniform(0, WHITE, (count // 2, 2, 2, channels))
    down, across = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    top = corners[:, 0, None, None, 0] * (1 - across) + corners[:, 0, None, None, 1] * across
    bottom = corners[:, 1, None, None, 0] * (1 - across) + corners[:, 1, None, None, 1] * across
    smooth = (top * (1 - down) + bottom * down).round().astype(np.uint8)
    return np.concatenate([noise, smooth])


def find_constants(normalisation: Normalisation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What training multiplies pixels by and then subtracts: `scale` and `shift` of `ImageInput`."""
    import numpy as np

    mean, std = (np.array(each, np.float32) for each in (normalisation.mean, normalisation.std))
    scale, shift = np.float32(1) / (np.float32(WHITE) * std), mean / std
    return tuple(map(float, scale)), tuple(map(float, shift))


def preprocess(pixels: np.ndarray, taken: ImageInput) -> np.ndarray:
    """Do what training does to pixels, and what loaders do in their own languages, to the last bit.

    Args:
        pixels: uint8 (images, height, width, channels).
        taken: the constants.

    Returns:
        float32 (images, channels, height, width).
    """
    import numpy as np

    moved = np.ascontiguousarray(np.moveaxis(pixels, -1, 1)).astype(np.float32)
    scale, shift = (np.array(each, np.float32)[:, None, None] for each in (taken.scale, taken.shift))
    moved *= scale
    moved -= shift
    return moved


def answer(
    path: Path, runtime: str, *, pixels: np.ndarray, taken: np.ndarray, layout: Layout, baked: bool
) -> tuple[np.ndarray, ...]:
    """Run a file on every image, in a process of its own.

    Args:
        path: the file.
        runtime: the plugin that runs it.
        pixels: uint8 (images, height, width, channels), for a file that has the preprocessing in it.
        taken: float32 (images, channels, height, width), for any other.
        layout: in which it takes images.
        baked: which of both.

    Returns:
        float32 (images, ...) per output.

    Raises:
        InputError: the file does not run; MissingDependency: its runtime is not installed here.
    """
    import numpy as np

    have = "nhwc" if baked else "nchw"
    images = pixels if baked else taken
    axes = (-1, 1) if have == "nhwc" else (1, -1)
    moved = images if have == layout else np.moveaxis(images, *axes)
    with open_runtime(device_at(THIS_MACHINE), runtime) as opener:
        session = opener.open(path, threads=1)
        (spec,) = session.inputs
        runs = [session.run(np.ascontiguousarray(moved[row : row + 1], dtype=spec.dtype)) for row in range(len(moved))]
    return tuple(np.concatenate(parts).astype(np.float32) for parts in zip(*runs, strict=True))


def measure_error(answers: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of an output for an image, as a share of the largest expected number there.

    Raises:
        ParityFailed: they are not even of the same shapes.
    """
    import numpy as np

    shapes = [each.shape for each in answers], [each.shape for each in expected]
    if shapes[0] != shapes[1]:
        raise ParityFailed(f"outputs are of shapes {shapes[0]}, expected {shapes[1]}", hint="make the bundle anew")
    errors = []
    for ours, theirs in zip(answers, expected, strict=True):
        rows = [np.asarray(each, np.float64).reshape(len(each), -1) for each in (ours, theirs)]
        scale = np.maximum(np.abs(rows[1]).max(axis=1), np.finfo(np.float32).tiny)
        errors.append(float((np.abs(rows[0] - rows[1]).max(axis=1) / scale).max()))
    return max(errors)

"""Training batches: their order, crops and flips, each drawn from a generator of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from deploy_prune.sources.data import list_strata, normalise, read_labelled
from deploy_prune.sources.images import split_indices
from deploy_prune.train.recipe import Batch, Recipe
from deploy_prune.values import Data, ImageSet


def choose_training_part(data: Data, recipe: Recipe) -> np.ndarray:
    """Indices into the training images that this recipe trains on: all, or a stratified part, int64 (images,)."""
    return draw_stratified(data.train, len(data.train) if recipe.images is None else recipe.images, seed=recipe.seed)


def draw_stratified(split: ImageSet, images: int, *, seed: int) -> np.ndarray:
    """Indices of so many images of a split, with as large a share of each class as the split has: int64 (images,).

    All images in order, where there are no more.
    """
    total = len(split)
    if images >= total:
        return np.arange(total)
    return split_indices(list_strata(split), (images / total,), seed=seed)[0]


def count_batches(images: int, batch_size: int) -> int:
    """How many steps an epoch has. A single image left over is no batch: a batch norm over 1x1 maps needs two."""
    full, left = divmod(images, batch_size)
    return full + (left > 1)


def draw_epoch(data: Data, part: np.ndarray, *, batch_size: int, seed: int) -> Iterator[Batch]:
    """Give one epoch in random order, augmented; the seed (one per epoch) decides everything.

    A batch's target are its labels; None where there are none.
    """
    generator = torch.Generator().manual_seed(seed)
    order = part[torch.randperm(len(part), generator=generator).numpy()]
    for step in range(count_batches(len(order), batch_size)):
        indices = order[step * batch_size : (step + 1) * batch_size]
        images, labels = read_labelled(data.train, indices)
        pixels = augment(images, data, generator)
        yield Batch(normalise(pixels, data.mean, data.std), None if labels is None else torch.from_numpy(labels))


def augment(images: np.ndarray, data: Data, generator: torch.Generator) -> np.ndarray:
    """Crop black-padded images at random, and mirror some where the data allows it: uint8, same shape."""
    count, height, width, _ = images.shape
    padding = data.crop_padding
    rows = torch.arange(height).expand(count, height)
    columns = torch.arange(width).expand(count, width)
    if data.flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    if padding:
        shifts = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
        rows, columns = rows + shifts[0], columns + shifts[1]
        images = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    elif not data.flip:
        return images
    picture = np.arange(count)[:, None, None]
    moved: np.ndarray = images[picture, rows.numpy()[:, :, None], columns.numpy()[:, None, :]]
    return moved

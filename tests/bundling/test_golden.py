"""Golden pairs: preprocessing is training's to the last bit, images are the same everywhere, differences are seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.bundling.golden import draw_pixels, find_constants, measure_error, preprocess
from deploy_prune.bundling.manifest import ImageInput
from deploy_prune.errors import ParityFailed
from deploy_prune.sources.data import normalise
from deploy_prune.values import Normalisation

share = st.floats(0.01, 1)


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(share, share), min_size=1, max_size=3))
def test_preprocessing_is_that_of_training_to_the_last_bit(seed: int, constants: list[tuple[float, float]]) -> None:
    mean, std = (tuple(each) for each in zip(*constants, strict=True))
    pixels = draw_pixels((len(mean), 9, 11), seed=seed)
    taken = ImageInput("input", (len(mean), 9, 11), "RGB", *find_constants(Normalisation(mean, std)))
    ours, theirs = preprocess(pixels, taken), normalise(pixels, mean, std).numpy()
    assert ours.dtype == np.float32 and ours.tobytes() == theirs.tobytes()


def test_images_are_bytes_of_noise_and_of_smooth_colours_the_same_every_time() -> None:
    pixels = draw_pixels((3, 16, 12))
    assert pixels.dtype == np.uint8 and pixels.shape == (8, 16, 12, 3)
    assert np.array_equal(pixels, draw_pixels((3, 16, 12)))
    steps = np.abs(np.diff(pixels.astype(int), axis=1)).mean((1, 2, 3))
    assert steps[:4].min() > 60 and steps[4:].max() < 30


def test_the_error_is_a_share_of_the_largest_output_of_the_worst_image() -> None:
    expected = np.array([[1.0, -4.0], [10.0, 0.0]], np.float32)
    assert measure_error([expected], [expected]) == 0.0
    assert measure_error([expected + np.float32([[0, 1], [1, 0]])], [expected]) == pytest.approx(0.25)


def test_outputs_of_another_shape_are_no_small_difference() -> None:
    with pytest.raises(ParityFailed, match="shapes"):
        measure_error([np.zeros((2, 3))], [np.zeros((2, 4))])

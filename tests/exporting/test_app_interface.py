"""The network as an app calls it, and which forms a network cannot take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from deploy_prune.errors import ConfigError
from deploy_prune.exporting.app_interface import Pixels, check_form, keep_fitting_labels, put_in_form
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.sources.data import normalise
from deploy_prune.values import AppForm, Layout, Network, Normalisation

NORMALISATION = Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
BAKED = AppForm(normalisation=NORMALISATION, bake=True, input="uint8")
NETWORK = Network("tests:linear", nn.Sequential(nn.Flatten(), nn.Linear(18, 4)), ((3, 2, 3),), 4)
SCORES = [(1, 4)]


@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.05, 2)] * 3),
    layout=st.sampled_from(["nchw", "nhwc"]),
    seed=st.integers(0, 999),
)
def test_pixels_are_normalised_as_training_does_it(
    mean: tuple[float, ...], std: tuple[float, ...], layout: Layout, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    taken = torch.from_numpy(image if layout == "nhwc" else np.moveaxis(image, -1, 1).copy())
    found, expected = Pixels(Normalisation(mean, std), layout)(taken), normalise(image, mean, std)
    assert found.shape == (2, 3, 4, 5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("layout", "shape"), [("nhwc", (1, 2, 3, 3)), ("nchw", (1, 3, 2, 3))])
def test_a_baked_network_takes_bytes_in_the_cameras_layout(layout: Layout, shape: tuple[int, ...]) -> None:
    module, (pixels,) = put_in_form(NETWORK, replace(BAKED, softmax=True), camera_layout=layout)
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, shape)
    assert float(module(pixels).sum()) == pytest.approx(1.0, abs=1e-6)


def test_labels_of_the_data_stay_where_the_first_output_scores_them() -> None:
    scored, other = AppForm(labels=tuple("abcd")), AppForm(labels=tuple("abc"), softmax=True)
    assert keep_fitting_labels(NETWORK, scored) == scored
    assert keep_fitting_labels(NETWORK, other) == AppForm(softmax=True)
    maps = Network("tests:maps", nn.Conv2d(3, 4, 1), ((3, 2, 3),))
    assert keep_fitting_labels(maps, scored).labels == ()


def test_a_plain_form_changes_nothing() -> None:
    module, (image,) = put_in_form(NETWORK, AppForm(), camera_layout="nhwc")
    assert isinstance(module[0], nn.Flatten)
    assert tuple(image.shape) == (1, 3, 2, 3)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (AppForm(input="uint8"), "bytes are not normalised"),
        (AppForm(bake=True), "mean and std .* are not known"),
        (
            replace(BAKED, normalisation=Normalisation((0.5,), (0.5,))),
            "the mean has 1 numbers, images of the network have 3 channels",
        ),
        (replace(BAKED, normalisation=Normalisation((0.5,) * 3, (0.5, 0.0, 0.5))), "the std has a 0 in it"),
        (AppForm(labels=("a", "b")), "2 labels for a network of 4 classes"),
        (AppForm(input_names=("a", "b")), "2 input names .* for 1 input"),
        (AppForm(output_names=("9lives",)), "'9lives' is no name"),
        (AppForm(name="../elsewhere"), "'../elsewhere' is no name of a file"),
        (AppForm(name=""), "'' is no name of a file"),
        (AppForm(input_names=("same",), output_names=("same",)), "both an input and an output"),
    ],
)
def test_a_form_that_does_not_go_together_is_refused(form: AppForm, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_form(NETWORK, form, SCORES)


@pytest.mark.parametrize("form", [BAKED, AppForm(softmax=True)])
def test_several_inputs_take_no_baked_preprocessing_and_no_softmax(form: AppForm) -> None:
    two = Network("tests:two", nn.Identity(), ((3, 2, 3), (5,)), 4)
    with pytest.raises(ConfigError):
        check_form(two, form, SCORES)


def test_maps_take_no_softmax() -> None:
    with pytest.raises(ConfigError, match="one row of class scores"):
        check_form(NETWORK, AppForm(softmax=True), [(1, 4, 2, 2)])


def test_names_are_given_or_numbered() -> None:
    assert give_names("input", ("camera",), 1) == ["camera"]
    assert give_names("input", (), 1) == ["input"]
    assert give_names("output", (), 2) == ["output_0", "output_1"]

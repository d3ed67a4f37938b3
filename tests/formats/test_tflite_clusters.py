"""Which parts of a .tflite file XNNPACK computes with sparse weights, and which operator keeps it from that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema
from tiny_tflite import SAME, VALID, Tiny, stem

from deploy_prune.errors import ExportFailed
from deploy_prune.formats.tflite_clusters import find_clusters

Z = 0.8


def test_a_mobile_network_is_one_part_that_turns_the_image_once() -> None:
    (cluster,) = find_clusters(tiny_tflite.mobile(), schema)
    assert (len(cluster.pointwise), cluster.entrances, cluster.exits) == (4, 1, 1)
    assert cluster.weights == 8 * 24 * 2 + 8 * 40 + 40 * 300
    assert cluster.zeros / cluster.weights == pytest.approx(0.8, abs=0.01)


def _first(change: Callable[[Tiny], int], channels: int = 3) -> Any:
    tiny = Tiny(channels=channels)
    return tiny.finish(tiny.mean(tiny.conv(change(tiny), 32, zeros=Z)))


@pytest.mark.parametrize("name", tiny_tflite.BLOCKS)
def test_what_xnnpack_computes_channels_first_is_accepted(name: str) -> None:
    (cluster,) = find_clusters(tiny_tflite.around(tiny_tflite.BLOCKS[name]), schema)
    assert len(cluster.pointwise) == 2 + (name == "squeeze and excitation")
    assert cluster.exits == 1


REFUSED: dict[str, tuple[Callable[[Tiny, int], int], str]] = {
    "SAME at a stride": (
        lambda t, image: t.depthwise(image, 3, 2),
        r"DEPTHWISE_CONV_2D 3 \(1x8x8x16 -> 1x4x4x16\).*pads as TensorFlow does \(SAME\) at a stride",
    ),
    "no padding": (lambda t, image: t.depthwise(image, padding=VALID), r"DEPTHWISE_CONV_2D 3 .*has to be padded by 1"),
    "a kernel of 7": (lambda t, image: t.depthwise(image, 7), r"DEPTHWISE_CONV_2D 3 .*its kernel is 7x7"),
    "a multiplier": (lambda t, image: t.depthwise(image, times=2), r"DEPTHWISE_CONV_2D 3 .*several channels for each"),
    "a stride of 3": (
        lambda t, image: t.depthwise(t.pad(image), 3, 3, padding=VALID), r"DEPTHWISE_CONV_2D 4 .*stride is 3x3",
    ),
    "a 3x3 convolution": (lambda t, image: t.conv(image, 16, 3, padding=SAME), r"CONV_2D 3 .*stride of 2, not 1"),
    "a second one that halves": (lambda t, image: t.conv(t.pad(image), 16, 3, 2), r"CONV_2D 4 .*3 channels, not 16"),
    "a 1x1 convolution that halves": (lambda t, image: t.conv(image, 16, 1, 2), r"CONV_2D 3 .*must not have a stride"),
    "another kind": (lambda t, image: t.add("TANH", [image], t.shape(image)), r"TANH 3 .*this kind of operator"),
    "a constant": (
        lambda t, image: t.add("MUL", [image, t.weights(1, 1, 1, 16)], t.shape(image)), r"MUL 3 .*is a constant",
    ),
    "a slope of 0": (lambda t, image: t.add("LEAKY_RELU", [image], t.shape(image)), r"LEAKY_RELU 3 .*slope of 0"),
    "an activation of its own": (
        lambda t, image: t.add("ADD", [image, image], t.shape(image), fusedActivationFunction=4),
        r"ADD 3 .*no such activation",
    ),
    "weights that are computed": (
        lambda t, image: t.add("DEPTHWISE_CONV_2D", [image, t.tensor((1, 3, 3, 16)), t.weights(16)], t.shape(image)),
        r"DEPTHWISE_CONV_2D 3 .*weights are not constant",
    ),
    "a padded 1x1 convolution": (lambda t, image: t.pad(image), r"CONV_2D 4 .*has to be padded by 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_that_breaks_the_rules_is_named(name: str) -> None:
    change, said = REFUSED[name]
    with pytest.raises(ExportFailed, match=said) as caught:
        find_clusters(tiny_tflite.around(change), schema)
    assert "leave --sparse out" in caught.value.hint


STARTS: dict[str, tuple[Any, str]] = {
    "a stride of 1": (lambda t: t.conv(t.image, 8, 3, padding=SAME), "CONV_2D 0 .*stride of 2, not 1"),
    "SAME": (lambda t: t.conv(t.image, 8, 3, 2, padding=SAME), "CONV_2D 0 .*as TensorFlow does"),
    "7x7": (lambda t: t.conv(t.pad(t.image, 3), 8, 7, 2), "CONV_2D 1 .*its kernel is 7x7"),
    "1x1": (lambda t: t.conv(t.image, 8), "CONV_2D 0 .*has to come first"),
    "holes": (lambda t: t.conv(t.pad(t.image, 2), 8, 3, 2, holes=2), "CONV_2D 1 .*is dilated"),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_network_that_begins_otherwise_is_refused(name: str) -> None:
    change, said = STARTS[name]
    with pytest.raises(ExportFailed, match=said):
        find_clusters(_first(change), schema)


def test_a_network_of_grey_images_is_refused() -> None:
    with pytest.raises(ExportFailed, match=r"CONV_2D 1 .*has to read 3 channels, not 1"):
        find_clusters(_first(stem, channels=1), schema)


def test_a_network_without_convolutions_is_refused() -> None:
    tiny = Tiny()
    with pytest.raises(ExportFailed, match="it has no convolution"):
        find_clusters(tiny.finish(tiny.mean(tiny.image)), schema)


def test_a_network_without_pointwise_convolutions_is_refused() -> None:
    tiny = Tiny()
    with pytest.raises(ExportFailed, match="it has no 1x1 convolution"):
        find_clusters(tiny.finish(tiny.mean(tiny.depthwise(stem(tiny)))), schema)


def test_an_image_that_is_also_an_output_is_refused() -> None:
    tiny = Tiny()
    image = tiny.conv(stem(tiny), 16, zeros=Z)
    with pytest.raises(ExportFailed, match=r"CONV_2D 2 .*is an output of the network"):
        find_clusters(tiny.finish(tiny.mean(image), image), schema)


def test_a_second_input_from_outside_is_refused() -> None:
    tiny = Tiny()
    outside = tiny.add("TANH", [tiny.conv(tiny.image, 16, 1, 2)], (1, 8, 8, 16))
    both = tiny.add("ADD", [tiny.conv(stem(tiny), 16, zeros=Z), outside], (1, 8, 8, 16))
    with pytest.raises(ExportFailed, match=r"ADD 5 .*something else that it reads"):
        find_clusters(tiny.finish(tiny.mean(both)), schema)


def test_a_mean_that_is_read_both_ways_is_refused() -> None:
    tiny = Tiny()
    image = tiny.conv(stem(tiny), 16, zeros=Z)
    mean = tiny.mean(image, keep=True)
    inside, outside = tiny.conv(mean, 8, zeros=Z), tiny.add("TANH", [mean], (1, 1, 1, 16))
    with pytest.raises(ExportFailed, match=r"TANH 5 .*is read channels first as well"):
        find_clusters(tiny.finish(tiny.mean(inside), outside), schema)


def test_a_mean_has_to_be_flattened_before_anything_else() -> None:
    tiny = Tiny()
    mean = tiny.mean(tiny.conv(stem(tiny), 16, zeros=Z), keep=True)
    with pytest.raises(ExportFailed, match=r"TANH 4 .*has not been flattened"):
        find_clusters(tiny.finish(tiny.add("TANH", [mean], (1, 1, 1, 16))), schema)


@pytest.mark.parametrize("zeros", [0.5, 0.66])
def test_too_few_zeros_are_refused_with_the_fullest_convolution(zeros: float) -> None:
    with pytest.raises(ExportFailed, match=r"% of the 12,704 weights.*asks for more than 66.7%.*CONV_2D 9 ") as caught:
        find_clusters(tiny_tflite.mobile(zeros), schema)
    assert "smaller `rate`" in caught.value.hint


def test_what_comes_before_the_image_is_turned_may_be_anything() -> None:
    tiny = Tiny()
    tiny.image = tiny.add("TANH", [given := tiny.image], (1, 16, 16, 3))
    turned = tiny.conv(stem(tiny), 16, zeros=Z)
    tiny.image = given
    (cluster,) = find_clusters(tiny.finish(tiny.mean(turned)), schema)
    assert cluster.entrances == 1


def test_two_images_are_two_parts() -> None:
    tiny = Tiny()
    means = [tiny.mean(tiny.conv(stem(tiny), 16, zeros=Z), keep=True) for _ in range(2)]
    clusters = find_clusters(tiny.finish(*means), schema)
    assert [each.entrances for each in clusters] == [1, 1]

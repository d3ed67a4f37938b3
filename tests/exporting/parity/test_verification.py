from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import DataError, InputError, ParityFailed
from deploy_prune.exporting.parity.reference import answer, make_questions
from deploy_prune.exporting.parity.verification import verify
from deploy_prune.values import Artifact, Network, NetworkIdentity, TensorSpec


class Scores(nn.Module):
    """The class scores are the input's three pixels."""

    def forward(self, x):
        return x.flatten(1)


@dataclass(frozen=True)
class FakeFile:
    """A runtime whose files do what `change` says to the network's outputs."""

    change: object
    batches: list[int] = field(default_factory=list)

    def version(self):
        return "1"

    def open(self, path, *, threads):
        return self

    inputs: ClassVar = (TensorSpec("input", (1, 3, 1, 1), "float32"),)

    def layers(self, *arrays):
        return {}

    def resize(self, batch):
        self.batches.append(batch)

    def run(self, *arrays):
        (array,) = arrays
        return self.change(array.reshape(len(array), -1).copy())


def _network(module=None):
    return Network("tests:scores", module or Scores(), ((3, 1, 1),), 3)


def _artifact(**changes):
    fields = {"layout": "nchw", "dynamic_batch": False, "input_shape": (3, 1, 1)} | changes
    return Artifact(path="net", format="fake", network=NetworkIdentity("net"), runtime="fake", precision="fp32",
                    size_bytes=1, sha256="", exporter="fake 1", seconds=0.0, **fields)  # fmt: skip


def _verify(change, images=None, **artifact):
    images = None if images is None else np.asarray(images, np.float32).reshape(-1, 3, 1, 1)
    return verify(answer(make_questions(_network(), images)), _artifact(**artifact), runtime=FakeFile(change))


def test_the_same_numbers_pass():
    parity = _verify(lambda scores: (scores,), images=np.eye(3))
    assert parity.passed and (parity.max_error, parity.agreement, parity.ties, parity.images) == (0.0, 1.0, 0, 3)
    assert parity.detail == "8 random inputs, 3 images"


def test_without_images_it_says_so():
    parity = _verify(lambda scores: (scores,))
    assert parity.passed and parity.images == 0 and parity.detail == "8 random inputs alone, no real images"


@pytest.mark.parametrize(("factor", "passed"), [(1 + 5e-5, True), (1 + 2e-4, False)])
def test_the_error_is_relative_to_the_largest_output_of_its_input(factor, passed):
    """All outputs scaled by 1 + e differ by e of the largest, whatever its size; the limit is 1e-4."""
    parity = _verify(lambda scores: (scores * np.float32(factor),), images=[[1000, 0, 0], [0.001, 0, 0]])
    assert parity.max_error == pytest.approx(factor - 1, rel=2e-2) and parity.passed is passed


def _first_two_swapped(scores):
    return (scores[:, [1, 0, 2]],)


def test_a_tie_is_counted_and_named_but_fails_nothing():
    """The network's best two differ by 5e-5 of the largest: within the tolerance, no class is the right one."""
    change = lambda scores: _first_two_swapped(scores) if scores[0, 0] == 2.0 else (scores,)  # noqa: E731
    parity = _verify(change, images=[[2.0, 2.0 - 1e-4, 0.0], [0.0, 1.0, 3.0]])
    assert parity.passed and parity.ties == 1 and parity.agreement == 1.0


def test_another_best_class_beyond_a_tie_fails():
    """One of 8 + 2 inputs prefers another class, by a margin of a quarter of the largest output."""
    change = lambda scores: _first_two_swapped(scores) if scores[0, 0] == 2.0 else (scores,)  # noqa: E731
    parity = _verify(change, images=[[2.0, 1.5, 0.0], [0.0, 1.0, 3.0]])
    assert not parity.passed and parity.ties == 0
    assert parity.agreement == pytest.approx(0.9) and parity.max_error == pytest.approx(0.25)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_fail(value):
    parity = _verify(lambda scores: (np.where(scores == 5.0, value, scores),), images=[[5.0, 0.0, 0.0]])
    assert not parity.passed and "not finite" in parity.detail
    assert np.isfinite(parity.max_error), "a record holds no infinity"


def test_a_difference_where_the_network_says_all_zeros_fails():
    parity = _verify(lambda scores: (scores + (scores == 0) * 1e-6,), images=[[0.0, 0.0, 0.0]])
    assert not parity.passed


def test_outputs_of_another_shape_are_an_error():
    with pytest.raises(ParityFailed, match=r"\(1, 2\).*\(1, 3\)"):
        _verify(lambda scores: (scores[:, :2],))


class Cancelling(nn.Module):
    """Large numbers that nearly cancel: what is left is mostly the rounding of single precision."""

    def forward(self, x):
        return ((x.flatten(1) * 1.1 + 1e5) - 1e5) * 3.3


def test_a_network_that_multiplies_its_own_rounding_is_told_so():
    runtime = FakeFile(lambda scores: (scores * np.float32(3.63),))
    parity = verify(answer(make_questions(_network(Cancelling()))), _artifact(), runtime=runtime)
    assert not parity.passed
    assert "the network's own rounding is" in parity.detail


def test_a_steady_network_is_not_blamed():
    parity = _verify(lambda scores: (scores * 2,))
    assert not parity.passed and "own rounding" not in parity.detail


def test_images_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"\(3, 2, 2\).*\(3, 1, 1\)"):
        make_questions(_network(), np.zeros((4, 3, 2, 2)))


@pytest.mark.parametrize(("dynamic", "batches"), [(False, [1, 1, 1]), (True, [1, 7, 5])])
def test_a_file_that_takes_batches_gets_one_alone_and_batches(dynamic, batches):
    runtime = FakeFile(lambda scores: (scores,))
    images = np.random.default_rng(0).standard_normal((5, 3, 1, 1))
    assert verify(answer(make_questions(_network(), images)), _artifact(dynamic_batch=dynamic), runtime=runtime).passed
    assert runtime.batches == batches


def test_a_network_that_mixes_the_inputs_of_a_batch_answers_one_by_one():
    """`x.max()` is another number in company; files run inputs alone."""

    class Mixing(nn.Module):
        def forward(self, x):
            return x.flatten(1) / x.abs().max()

    reference = answer(make_questions(_network(Mixing())))
    for inputs, (scores,) in zip(reference.questions.inputs, reference.expected, strict=True):
        expected = [image.ravel() / np.abs(image).max() for image in inputs.arrays[0]]
        np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_outputs_that_are_no_class_scores_are_compared_by_error_alone():
    class Map(nn.Module):
        def forward(self, x):
            return x * 2

    runtime = FakeFile(lambda scores: (scores.reshape(-1, 3, 1, 1) * 2,))
    parity = verify(answer(make_questions(_network(Map()))), _artifact(), runtime=runtime)
    assert parity.passed and "no class scores" in parity.detail
    assert parity.agreement is None and not parity.answers, "no share of answers is claimed where none were compared"


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_real_file_of_another_network_does_not_pass(name, request):
    """The law that matters: weights changed after the export are noticed, the unchanged network passes."""
    network, path = request.getfixturevalue("tiny_network"), request.getfixturevalue(f"tiny_{name}")
    exporter = plugins.build("exporters", name)
    runtime = plugins.build("runtimes", exporter.runtime)
    artifact = replace(_artifact(layout=exporter.layout, input_shape=network.input_shape), path=str(path))
    images = torch.randn(20, *network.input_shape, generator=torch.Generator().manual_seed(3))
    assert verify(answer(make_questions(network, images)), artifact, runtime=runtime).passed
    assert network.module.training, "the caller's network is not changed"
    other = _changed(network)
    parity = verify(answer(make_questions(other, images)), artifact, runtime=runtime)
    assert not parity.passed
    assert "the first layer that differs is 0 (conv2d)" in parity.detail


def _changed(network):
    import copy

    module = copy.deepcopy(network.module)
    with torch.no_grad():
        module[0].weight[0] *= 1.01
    return Network(network.address, module, network.input_shapes, network.classes)


def test_a_file_that_is_gone_is_named(tiny_network):
    runtime = plugins.build("runtimes", "litert")
    with pytest.raises(InputError, match=r"gone\.tflite"):
        verify(answer(make_questions(tiny_network)), _gone(), runtime=runtime)


def _gone():
    return replace(_artifact(layout="nhwc", input_shape=(3, 16, 24)), path="gone.tflite")

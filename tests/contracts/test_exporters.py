"""What every exporter promises, run over every plugin that is found."""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
import torch
from absent import require
from reading import said
from torch import nn

from deploy_prune import plugins
from deploy_prune.analysis.describe import read_report
from deploy_prune.errors import ConfigError, ExportFailed, MissingDependency
from deploy_prune.exporting.app_interface import draw_pixels
from deploy_prune.records import sha256
from deploy_prune.values import AppForm, Network, Normalisation

EXPORTERS = plugins.list_names("exporters")
pytestmark = pytest.mark.parametrize("name", EXPORTERS, scope="module")


@pytest.fixture(autouse=True)
def _installed(name):
    require(name)


def _run(name, path, *images):
    exporter = plugins.build("exporters", name)
    session = plugins.build("runtimes", exporter.runtime).open(path, threads=1)
    arrays = [np.moveaxis(image, 1, -1) if exporter.layout == "nhwc" and image.ndim > 2 else image for image in images]
    return session.run(*map(np.ascontiguousarray, arrays))


def _snapshot(module):
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    return state, [child.training for child in module.modules()], [p.requires_grad for p in module.parameters()]


def test_the_file_computes_what_the_network_does_at_odd_widths_and_a_non_square_size(name, tiny_network, request):
    """13 channels, 16x24 pixels, and batch norm in eval mode although the network was in training mode."""
    path = request.getfixturevalue(f"tiny_{plugins.load('exporters', name).suffix[1:]}")
    image = torch.randn(1, *tiny_network.input_shape, generator=torch.Generator().manual_seed(1))
    tiny = replace(tiny_network, module=copy.deepcopy(tiny_network.module).eval())
    with torch.no_grad():
        expected = tiny.module(image).numpy()
    (found,) = _run(name, path, image.numpy())
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.heavy
def test_the_callers_network_is_untouched(name, tiny_network, tmp_path):
    state, training, gradients = _snapshot(tiny_network.module)
    plugins.build("exporters", name).write(tiny_network, tmp_path / "net")
    after, training_after, gradients_after = _snapshot(tiny_network.module)
    assert training == training_after and gradients == gradients_after
    assert all(torch.equal(state[key], after[key]) for key in state)


@pytest.mark.heavy
def test_several_inputs_and_outputs_keep_the_order_of_the_call(name, tmp_path):
    """Inputs of equal shape used in reverse: mixing them up would not be noticed by their shapes."""

    class Differences(nn.Module):
        def forward(self, left, right, offset):
            return right.mean((2, 3)) - 2 * left.mean((2, 3)), offset * 3

    network = Network("tests:differences", Differences(), ((3, 4, 6), (3, 4, 6), (5,)), 3)
    path = tmp_path / f"net{plugins.load('exporters', name).suffix}"
    plugins.build("exporters", name).write(network, path)
    left, right = np.full((1, 3, 4, 6), 1.0, np.float32), np.full((1, 3, 4, 6), 5.0, np.float32)
    first, second = _run(name, path, left, right, np.full((1, 5), 7.0, np.float32))
    np.testing.assert_allclose(first, np.full((1, 3), 3.0), rtol=1e-6)
    np.testing.assert_allclose(second, np.full((1, 5), 21.0), rtol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(name, value, tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(16, 2))
    module[2].weight.data[1, 3] = value
    network = Network("tests:diverged", module, ((3, 2, 2),), 2)
    with pytest.raises(ExportFailed, match=r"'2.weight' of tests:diverged holds NaN or infinity"):
        plugins.build("exporters", name).write(network, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_network_that_cannot_be_converted_gives_one_short_reason(name, tmp_path, capfd):
    class Refuses(nn.Module):
        def forward(self, x):
            raise NotImplementedError("only on a Tuesday\nand other advice")

    network = Network("tests:refuses", Refuses(), ((3, 2, 2),), 2)
    with pytest.raises(ExportFailed, match="NotImplementedError: only on a Tuesday") as caught:
        plugins.build("exporters", name).write(network, tmp_path / "net")
    assert len(caught.value.message) < 400 and "advice" not in caught.value.message
    assert capfd.readouterr() == ("", ""), "what the converter printed must not reach the terminal"


def test_it_names_its_converter_and_a_runtime_that_reads_its_files(name):
    exporter = plugins.build("exporters", name)
    assert any(character.isdigit() for character in exporter.version())
    assert exporter.suffix in plugins.load("runtimes", exporter.runtime).suffixes
    assert exporter.layout in {"nchw", "nhwc"}


def test_a_converter_that_is_not_installed_is_named_with_the_extra_that_brings_it(name, monkeypatch):
    def absent(package):
        raise metadata.PackageNotFoundError(package)

    exporter = plugins.build("exporters", name)
    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(MissingDependency, match=rf"deploy-prune\[{name}\]"):
        exporter.version()


def test_a_precision_that_it_cannot_write_is_refused_before_anything_is_converted(name, tmp_path):
    class Untouchable(nn.Module):
        def __deepcopy__(self, memo):
            raise AssertionError("the network is copied to convert it")

    exporter = plugins.build("exporters", name)
    assert "fp32" in exporter.precisions
    with pytest.raises(ConfigError, match="precision 'int3'") as caught:
        exporter.write(Network("tests:net", Untouchable(), ((3,),), 2), tmp_path / "net", precision="int3")
    assert ", ".join(exporter.precisions) in caught.value.hint
    assert not (tmp_path / "net").exists()


@pytest.mark.heavy
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_it_writes_in_a_precision_stores_its_weights_so(name, precision, tiny_network, tmp_path):
    exporter = plugins.build("exporters", name)
    if precision not in exporter.precisions:
        pytest.skip(f"{name} writes {', '.join(exporter.precisions)}")
    path = tmp_path / f"net{exporter.suffix}"
    exporter.write(tiny_network, path, precision=precision)
    sizes = read_report(path).weights_bytes
    assert sizes[{"fp32": "float32", "fp16": "float16"}[precision]] > 0.9 * sum(sizes.values())


NORMALISATION = Normalisation((0.5, 0.25, 0.125), (0.25, 0.5, 0.2))
LABELS = ("cat", "dog", "été", "two words", "last")


def _pixels(network):
    return draw_pixels(network, batch=1, seed=5).numpy()


def _expected(network, pixels, *, softmax=False):
    """What torch computes on raw pixels, normalised here in double precision."""
    mean, std = (np.array(each).reshape(1, -1, 1, 1) for each in (NORMALISATION.mean, NORMALISATION.std))
    image = torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32))
    with torch.no_grad():
        scores = copy.deepcopy(network.module).eval()(image)
    return (scores.softmax(1) if softmax else scores).numpy()


@pytest.mark.heavy
@pytest.mark.parametrize(
    "form",
    [
        AppForm(normalisation=NORMALISATION, bake=True),
        AppForm(
            normalisation=NORMALISATION, bake=True, input="uint8", softmax=True, labels=LABELS,
            input_names=("camera",), output_names=("probabilities",),
        ),
    ],
    ids=["float", "uint8"],
)  # fmt: skip
def test_a_baked_file_computes_on_raw_pixels_what_the_network_does_on_normalised_ones(
    name, form, tiny_network, tmp_path
):
    exporter = plugins.build("exporters", name)
    path = tmp_path / f"net{exporter.suffix}"
    exporter.write(tiny_network, path, form)
    pixels = _pixels(tiny_network)
    taken = pixels if form.input == "uint8" else pixels.astype(np.float32)
    if exporter.camera_layout == "nhwc":
        taken = np.ascontiguousarray(np.moveaxis(taken, 1, -1))
    session = plugins.build("runtimes", exporter.runtime).open(path, threads=1)
    (found,) = session.run(taken)
    expected = _expected(tiny_network, pixels, softmax=form.softmax)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    about = said(path)
    assert (about.inputs, about.outputs) == (
        list(form.input_names) or ["input"],
        list(form.output_names) or ["output"],
    )
    assert about.labels == list(form.labels)
    assert (about.mean, about.std) == ([0, 0, 0], [1, 1, 1]), "nothing is left to the app"


DESCRIBED = AppForm(normalisation=NORMALISATION, labels=LABELS, softmax=True)


@pytest.fixture(scope="module")
def described(name, tiny_network, tmp_path_factory):
    """A file that gives probabilities and says what an app has to do to its pixels before."""
    exporter = plugins.build("exporters", name)
    path = tmp_path_factory.mktemp("described") / f"net{exporter.suffix}"
    exporter.write(tiny_network, path, DESCRIBED)
    return path


@pytest.mark.heavy
def test_what_the_file_says_of_preprocessing_makes_of_raw_pixels_what_the_file_takes(name, tiny_network, described):
    """Softmax is inside the file, preprocessing is not."""
    pixels = _pixels(tiny_network)
    about = said(described)
    mean, std = (np.array(each).reshape(1, -1, 1, 1) for each in (about.mean, about.std))
    (found,) = _run(name, described, ((pixels - mean) / std).astype(np.float32))
    expected = _expected(tiny_network, pixels, softmax=True)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert about.labels == list(LABELS)


@pytest.mark.heavy
def test_names_follow_the_order_of_the_call_also_beyond_ten(name, tmp_path):
    """Converters that sort names by the alphabet put 10 before 2; the given names are in no alphabetical order."""

    class Multiples(nn.Module):
        def forward(self, *numbers):
            return tuple(number * (place + 1) for place, number in enumerate(numbers))

    inputs = tuple(f"{letter}_{place}" for place, letter in enumerate("output_xyzab"))
    outputs = tuple(f"y{11 - place}" for place in range(12))
    network = Network("tests:multiples", Multiples(), ((3,),) * 12, 3)
    path = tmp_path / f"net{plugins.load('exporters', name).suffix}"
    plugins.build("exporters", name).write(network, path, AppForm(input_names=inputs, output_names=outputs))
    arrays = [np.full((1, 3), 10.0 + place, np.float32) for place in range(12)]
    found = _run(name, path, *arrays)
    assert [float(array[0, 0]) for array in found] == [(10 + place) * (place + 1) for place in range(12)]
    about = said(path)
    assert (tuple(about.inputs), tuple(about.outputs)) == (inputs, outputs)


@pytest.mark.heavy
def test_a_described_file_has_the_same_bytes_twice(name, tiny_network, described, tmp_path):
    plugins.build("exporters", name).write(tiny_network, tmp_path / "again", DESCRIBED)
    assert sha256(tmp_path / "again") == sha256(described)

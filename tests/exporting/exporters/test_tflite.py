from __future__ import annotations

import time
import zipfile

import numpy as np
import pytest
import reading
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from deploy_prune import plugins
from deploy_prune.analysis.describe import read_report
from deploy_prune.errors import ConfigError, ExportFailed
from deploy_prune.exporting.exporters.tflite import TFLite, convert, put_channels_last, serialise
from deploy_prune.exporting.steps import Asked, fold_norms, write_in_steps
from deploy_prune.formats.tflite_file import TFLiteFile
from deploy_prune.formats.tflite_metadata import write_model_metadata
from deploy_prune.values import AppForm, Network, Normalisation


def _input_shape(path):
    return plugins.build("runtimes", "litert").open(path, threads=1).inputs[0].shape


def test_images_are_channels_last_by_default(tiny_tflite):
    assert _input_shape(tiny_tflite) == (1, 16, 24, 3)


@pytest.mark.heavy
def test_channels_first_on_request(tiny_network, tmp_path):
    TFLite(layout="nchw").write(tiny_network, tmp_path / "net.tflite")
    assert _input_shape(tmp_path / "net.tflite") == (1, 3, 16, 24)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ConfigError, match="layout: Input should be 'nchw' or 'nhwc', got 'hwcn'"):
        plugins.build("exporters", "tflite", {"layout": "hwcn"})


@pytest.mark.heavy
def test_exporting_twice_writes_the_same_bytes(tiny_network, tiny_tflite, tmp_path):
    TFLite().write(tiny_network, tmp_path / "again.tflite")
    assert (tmp_path / "again.tflite").read_bytes() == tiny_tflite.read_bytes()


def _write(network, path, **form):
    TFLite().write(network, path, AppForm(**form))
    return path.read_bytes()


def _buffers(content):
    """Place and bytes of every buffer of a file."""
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            yield buffer._tab.Vector(buffer._tab.Offset(4)), buffer.DataAsNumpy().tobytes()


@pytest.mark.heavy
def test_weights_stay_where_kernels_may_load_them_sixteen_bytes_at_a_time(tiny_network, tmp_path):
    content = _write(tiny_network, tmp_path / "net.tflite", labels=tuple("abcde"))
    places = [place for place, _ in _buffers(content)]
    assert len(places) > 5 and not any(place % 16 for place in places)


def test_naming_changes_no_buffer(tiny_tflite):
    file = TFLiteFile(tiny_tflite.read_bytes())
    file.rename(["camera"], ["scores"])
    assert (file.input_names, file.output_names) == (["camera"], ["scores"])
    before, after = ([data for _, data in _buffers(each)] for each in (tiny_tflite.read_bytes(), file.content()))
    assert before == after


@pytest.mark.slow
@pytest.mark.ci
def test_fourteen_megabytes_are_rewritten_in_less_than_a_second(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(1750, 2000))
    content = _write(Network("tests:wide", module, ((7, 25, 10),), 2000), tmp_path / "net.tflite")
    assert len(content) > 14e6
    started = time.perf_counter()
    file = TFLiteFile(content)
    file.rename(("camera",), ("scores",))
    assert len(file.content()) == pytest.approx(len(content), abs=1000)
    assert time.perf_counter() - started < 1


@pytest.mark.heavy
def test_where_nothing_is_known_nothing_is_said(tiny_network, tmp_path):
    content = _write(tiny_network, tmp_path / "net.tflite", softmax=True)
    assert b"TFLITE_METADATA" not in content and b"min_runtime_version" in content
    assert not zipfile.is_zipfile(tmp_path / "net.tflite")


@pytest.mark.heavy
def test_labels_are_a_line_each_and_not_compressed(tiny_network, tmp_path):
    """Android maps them into memory as they are."""
    _write(tiny_network, tmp_path / "net.tflite", labels=("a", "two\nlines", "c", "d", "é"))
    with zipfile.ZipFile(tmp_path / "net.tflite") as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode().split("\n") == ["a", "two lines", "c", "d", "é"]


@pytest.mark.heavy
def test_an_output_given_twice_and_an_input_passed_through_have_their_own_names_in_the_signature(tmp_path):
    class Echo(nn.Module):
        def forward(self, x):
            return (y := x * 2), y, x

    content = _write(Network("tests:echo", Echo(), ((3,),), 3), tmp_path / "net.tflite")
    (signature,) = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).signatureDefs
    assert [entry.name for entry in signature.outputs] == [b"output_0", b"output_1", b"output_2"]
    session = plugins.build("runtimes", "litert").open(tmp_path / "net.tflite", threads=1)
    assert [array.ravel().tolist() for array in session.run(np.array([[1, 2, 3]], np.float32))] == [
        [2, 4, 6], [2, 4, 6], [1, 2, 3],
    ]  # fmt: skip


@pytest.mark.heavy
def test_files_with_the_converters_own_names_open_in_the_order_of_the_call(tmp_path):
    """They were written so before inputs had names: the numbers count, wherever the file lists the tensors."""

    class Differences(nn.Module):
        def forward(self, left, right):
            return right - 2 * left, left * 3

    network = Network("tests:differences", Differences(), ((3,), (3,)), 3)
    steps = (fold_norms, put_channels_last, convert, turn_tensors_round, serialise)
    write_in_steps(steps, Asked(TFLite(), network), tmp_path / "net.tflite")
    session = plugins.build("runtimes", "litert").open(tmp_path / "net.tflite", threads=1)
    assert [spec.name for spec in session.inputs] == ["serving_default_args_0", "serving_default_args_1"]
    first, second = session.run(np.full((1, 3), 1.0, np.float32), np.full((1, 3), 5.0, np.float32))
    assert (first[0, 0], second[0, 0]) == (3, 3)
    assert (session.run(*np.float32([[[2, 2, 2]], [[5, 5, 5]]]))[0] == 1).all()


def turn_tensors_round(draft):
    """In place of naming them: list inputs and outputs the other way round, with the converter's own names."""
    graph = draft.model._model.subgraphs[0]
    graph.inputs, graph.outputs = graph.inputs[::-1], graph.outputs[::-1]
    return draft


def test_the_metadata_has_its_identifier_and_the_version_that_parsers_compare():
    content = write_model_metadata("what", [], [])
    assert content[4:8] == b"M001"
    assert [reading.text(reading.root(content), place) for place in (1, 7)] == ["what", "1.0.0"]


@pytest.mark.heavy
def test_names_that_look_like_the_converters_are_no_numbers(tmp_path):
    class Difference(nn.Module):
        def forward(self, left, right):
            return right - 2 * left

    network = Network("tests:difference", Difference(), ((3,), (3,)), 3)
    _write(network, tmp_path / "net.tflite", input_names=("serving_default_args_1", "serving_default_args_0"))
    session = plugins.build("runtimes", "litert").open(tmp_path / "net.tflite", threads=1)
    (found,) = session.run(np.full((1, 3), 1.0, np.float32), np.full((1, 3), 5.0, np.float32))
    assert found[0, 0] == 3


@pytest.mark.heavy
def test_what_an_app_is_told_is_in_pixels_from_0_to_255(tiny_network, tmp_path):
    normalisation = Normalisation((0.5, 0.4, 0.2), (0.25, 0.2, 0.1))
    _write(tiny_network, tmp_path / "net.tflite", normalisation=normalisation)
    found = reading.tflite(tmp_path / "net.tflite")
    np.testing.assert_allclose(found.mean, [127.5, 102, 51], rtol=1e-6)
    np.testing.assert_allclose(found.std, [63.75, 51, 25.5], rtol=1e-6)


def _masked(share, *, stride=2):
    """A mobile network of odd sizes, at which padding before a stride is what the format calls SAME."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 32, 1), nn.ReLU6(), nn.Conv2d(32, 32, 3, stride=2, padding=1, groups=32), nn.ReLU6(),
        nn.Conv2d(32, 64, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    for part in (module[3], module[7]):
        with torch.no_grad():
            part.weight *= torch.rand(part.weight.shape) >= share
    return Network("tests:masked", module, ((3, 33, 33),), 10)


@pytest.mark.heavy
def test_a_sparse_file_computes_what_the_network_does_and_says_what_it_leaves_out(tmp_path):
    network = _masked(0.9)
    TFLite(sparse=True).write(network, tmp_path / "net.tflite")
    report = read_report(tmp_path / "net.tflite")
    assert report.needs == {"TensorFlow Lite": "2.2.0, as its converter says"}
    note = report.metadata["sparse_weights"]
    assert note.startswith("2 of 2 1x1 convolutions, 9") and note.endswith("; NHWC to CHW 1 times, back 1 times")
    image = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        expected = network.module.eval()(image).numpy()
    (found,) = (
        plugins.build("runtimes", "litert")
        .open(tmp_path / "net.tflite", threads=1)
        .run(image.permute(0, 2, 3, 1).contiguous().numpy())
    )
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("network", "said"),
    [
        (_masked(0.5), r"of the 2,304 weights of 1x1 convolutions are 0, and XNNPACK asks for more than 66\.7%"),
        (_masked(0.9, stride=1), r"CONV_2D 0 .* has to have a stride of 2, not 1"),
    ],
)
def test_what_xnnpack_would_not_skip_is_refused_and_nothing_is_written(tmp_path, network, said):
    with pytest.raises(ExportFailed, match=said):
        TFLite(sparse=True).write(network, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())

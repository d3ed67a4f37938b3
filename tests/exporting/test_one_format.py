"""One format of one network: the row of a written file, and the row once it has been run."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from absent import require, uninstall
from building import delivered
from torch import Tensor, nn

from deploy_prune import plugins
from deploy_prune.errors import StorageError
from deploy_prune.exporting.export import _plan_jobs
from deploy_prune.exporting.one_format import FormatJob, Written, check, write
from deploy_prune.exporting.parity.reference import answer, make_questions
from deploy_prune.values import AppForm, Network, Normalisation

FORM = AppForm(normalisation=Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), bake=True, softmax=True, input="uint8")
FORMATS = plugins.list_names("exporters")


@pytest.mark.heavy
def test_a_written_file_is_described_and_not_yet_verified(tiny_network: Network, tmp_path: Path) -> None:
    exporter = plugins.build("exporters", "onnx")
    row = write(make_questions(tiny_network), FormatJob("onnx", exporter, tmp_path / "model.onnx"))
    assert (row.status, row.parity, row.reason) == ("exported", None, "not verified")
    assert row.artifact is not None
    content = (tmp_path / "model.onnx").read_bytes()
    assert row.artifact.size_bytes == len(content)
    assert row.artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert (row.artifact.format, row.artifact.runtime, row.artifact.precision) == ("onnx", "onnxruntime", "fp32")
    assert row.artifact.needs == {"ONNX Runtime": "1.14"}


@pytest.mark.heavy
def test_formats_of_one_network_are_known_to_be_the_same_network_whatever_their_names(
    tiny_network: Network, tmp_path: Path
) -> None:
    module = copy.deepcopy(tiny_network.module)
    other = replace(tiny_network, module=module)
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 1
    files = [delivered(tiny_network, "onnx", tmp_path / "a"), delivered(tiny_network, "tflite", tmp_path / "b"),
             delivered(other, "onnx", tmp_path / "a")]  # fmt: skip
    one, same, changed = (file.artifact.network for file in files if file.artifact)
    assert one == same != changed
    assert one.address == changed.address == tiny_network.address


@pytest.mark.heavy
def test_a_file_that_has_been_run_says_on_how_many_images(tiny_network: Network, tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((30, *tiny_network.input_shape)).astype(np.float32)
    row = delivered(tiny_network, "onnx", tmp_path, images=images)
    assert row.status == "verified"
    assert row.parity is not None
    assert row.parity.images == 30


@pytest.mark.heavy
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_takes_bytes_and_gives_probabilities_is_verified_on_bytes(
    name: str, tiny_network: Network, tmp_path: Path
) -> None:
    """The reference normalises by itself, as training does: it shares no code with what is baked in."""
    require(name)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 24, 3), dtype=np.uint8)
    row = delivered(tiny_network, name, tmp_path, images=pixels, form=FORM)
    assert row.status == "verified", row.reason
    assert row.artifact is not None
    assert (row.artifact.input, row.artifact.baked, row.artifact.softmax) == ("uint8", True, True)


@pytest.mark.heavy
def test_other_means_inside_the_file_are_noticed(tiny_network: Network, tmp_path: Path) -> None:
    shifted = replace(FORM, normalisation=Normalisation((0.4, 0.5, 0.61), (0.2, 0.25, 0.3)))
    job = FormatJob("onnx", plugins.build("exporters", "onnx"), tmp_path / "model.onnx")
    right, other = make_questions(tiny_network, None, FORM), make_questions(tiny_network, None, shifted)
    written = Written(job, write(right, job))
    assert check(answer(right), written).status == "verified"
    row = check(answer(other), written)
    assert row.status == "failed"
    assert "the first layer that differs is" in row.reason


@pytest.mark.heavy
def test_a_free_batch_is_run_alone_and_in_batches(tiny_network: Network, tmp_path: Path) -> None:
    row = delivered(tiny_network, "onnx", tmp_path, dynamic_batch=True)
    assert row.status == "verified"
    assert row.artifact is not None
    assert row.artifact.dynamic_batch


def test_a_missing_converter_is_a_failed_row_with_the_pip_hint(
    tiny_network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "litert-torch")
    row = delivered(tiny_network, "tflite", tmp_path)
    assert row.status == "failed"
    assert "pip install 'deploy-prune[tflite]'" in row.reason


@pytest.mark.heavy
def test_a_missing_runtime_leaves_an_exported_file_that_nobody_has_verified(
    tiny_network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "ai-edge-litert")
    row = delivered(tiny_network, "tflite", tmp_path)
    assert (row.status, row.parity) == ("exported", None)
    assert row.artifact is not None
    assert "pip install 'deploy-prune[litert]'" in row.reason


@pytest.mark.heavy
def test_a_file_that_computes_something_else_is_failed_with_its_figures(tiny_network: Network, tmp_path: Path) -> None:
    """The network's answers are turned around after the file was written."""
    job = FormatJob("onnx", plugins.build("exporters", "onnx"), tmp_path / "model.onnx")
    images = np.random.default_rng(0).standard_normal((10, *tiny_network.input_shape)).astype(np.float32)
    written = Written(job, write(make_questions(tiny_network, images), job))
    other = replace(tiny_network, module=copy.deepcopy(tiny_network.module))
    with torch.no_grad():
        for parameter in other.module[-1].parameters():
            parameter.neg_()
    row = check(answer(make_questions(other, images)), written)
    assert (row.status, row.artifact) == ("failed", written.row.artifact)
    assert row.parity is not None
    assert row.parity.max_error == pytest.approx(2.0, rel=1e-3)
    assert row.parity.agreement == 0.0
    assert "2.0e+00 (limit 1e-04), same top-1 on 0.0%" in row.reason


def test_a_folder_that_is_a_file_is_a_storage_error(tiny_network: Network, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("here first")
    with pytest.raises(StorageError, match="out"):
        delivered(tiny_network, "onnx", tmp_path / "out")


class Doing(nn.Module):
    """A network of one function of (1, 3, 2, 2)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def median(x: Tensor) -> Tensor:
    return x.median(2)[0]


def branch(x: Tensor) -> Tensor:
    return x * 2 if x.sum() > 0 else x


def crash(x: Tensor) -> Tensor:
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        raise IndexError("something within the converter")
    return x


LEAVES_A_FOLDER = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
"""coremltools does until its error is forgotten."""


@LEAVES_A_FOLDER
@pytest.mark.parametrize(
    ("function", "target", "said"),
    [
        (median, "coreml", "the converter does not know median.dim"),
        (branch, "coreml", "depend on values"),
        (branch, "executorch", "depend on values"),
        (crash, "coreml", "a fault of the converter, as far as can be told"),
        pytest.param(median, "tflite", "the converter does not know aten.median.dim", marks=pytest.mark.heavy),
        pytest.param(median, "executorch", "the converter does not know aten.median.dim", marks=pytest.mark.heavy),
        pytest.param(lambda x: x.sort(3)[0], "tflite", "LiteRT does not run: STABLEHLO_SORT", marks=pytest.mark.heavy),
        pytest.param(
            lambda x: x.sort(3)[0], "executorch", "ExecuTorch does not run: aten::sort.values", marks=pytest.mark.heavy
        ),
    ],
)
def test_a_failure_says_whether_the_format_or_its_converter_is_at_fault(
    function: Callable[[Tensor], Tensor], target: str, said: str, tmp_path: Path
) -> None:
    row = delivered(Network("tests:doing", Doing(function), ((3, 2, 2),), 3), target, tmp_path)
    assert row.status == "failed"
    assert said in row.reason
    assert "cannot express" not in row.reason


@LEAVES_A_FOLDER
def test_a_converter_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    row = delivered(Network("tests:median", Doing(median), ((3, 2, 2),), 3), "coreml", tmp_path)
    assert row.status == "failed"
    assert "could not convert tests:median" in row.reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_calibration_reaches_the_exporter(tiny_network: Network, tmp_path: Path) -> None:
    """What a user gives with a format, `_plan_jobs` keeps as batches, and the exporter gets when it writes."""
    batches = [
        np.zeros((2, *tiny_network.input_shape), np.float32),
        np.ones((1, *tiny_network.input_shape), np.float32),
    ]
    (job,) = _plan_jobs({"onnx": {"calibration": iter(batches)}}, tmp_path)
    written: list[Any] = []

    class Listening:
        suffix, runtime, camera_layout, layout, dynamic_batch = ".onnx", "onnxruntime", "nhwc", "nchw", False
        precisions = ("fp32",)

        def version(self) -> str:
            return "listening 1"

        def write(self, network, path, form, *, precision, calibration) -> None:
            written.extend(calibration)
            job.exporter.write(network, path, form, precision=precision)

    write(make_questions(tiny_network), replace(job, exporter=Listening(), path=tmp_path / "net.onnx"))
    assert [batch.shape[0] for batch in written] == [2, 1]

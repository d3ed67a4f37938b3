"""All formats of one network, each in a process of its own: what happens to one is no other's business."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, DataError, StorageError, UnknownName, WorkerDied
from deploy_prune.exporting import export as exporting
from deploy_prune.exporting.export import export, export_asked, keep_export_workshop
from deploy_prune.exporting.one_format import FormatJob, Written, write
from deploy_prune.exporting.parity.reference import answer, make_questions
from deploy_prune.processes.workshop import open_workshop
from deploy_prune.sources.networks import build_network
from deploy_prune.values import AppForm, Network, quiet


class OneImage(nn.Module):
    """A batch size baked into the forward: fine at batch 1, impossible at any other."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(x.reshape(1, 12))


class Crashes(nn.Module):
    """Ends the process of whoever traces it, as a fault in a vendor's native code does."""

    def forward(self, x):
        if torch.compiler.is_exporting():
            os.kill(os.getpid(), signal.SIGSEGV)
        return x.flatten(1)


class Killed(nn.Module):
    """Kills whoever traces it, as the system does when memory is short, as often as there is room in a folder."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__()
        self.folder, self.times = str(folder), times

    def forward(self, x):
        tries = len(list(Path(self.folder).iterdir()))
        if torch.compiler.is_exporting() and tries < self.times:
            Path(self.folder, f"try-{tries}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x.flatten(1)


class EndsInItsRuntime:
    """The part of an exporter that opens the runtime, and ends the process that opens it."""

    def __init__(self) -> None:
        self.process = os.getpid()

    @property
    def runtime(self) -> str:
        if os.getpid() != self.process:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "onnxruntime"


@pytest.mark.heavy
def test_every_format_is_written_run_and_described(tiny_network: Network, tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((30, *tiny_network.input_shape)).astype(np.float32)
    told: list[tuple[object, ...]] = []
    rows = export(
        tiny_network, ["tflite", "onnx"], tmp_path / "out", images=images, progress=lambda *step: told.append(step)
    )
    assert [(row.format, row.status, row.reason) for row in rows] == [
        ("tflite", "verified", ""),
        ("onnx", "verified", ""),
    ]
    assert told[0] == ("export", 0, 4, "the network itself")
    assert told[-1] == ("export", 4, 4)
    assert {"writing tflite, onnx", "running tflite, onnx"} <= {step[-1] for step in told}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.onnx", "model.tflite"]
    assert [row.artifact.layout for row in rows if row.artifact] == ["nhwc", "nchw"]


@pytest.mark.heavy
def test_a_format_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    network = Network("tests:one_image", OneImage(), ((3, 2, 2),), 4)
    onnx, tflite = export(network, {"onnx": {"dynamic_batch": True}, "tflite": {}}, tmp_path)
    assert onnx.status == "failed"
    assert onnx.artifact is None
    assert "could not convert tests:one_image" in onnx.reason
    assert tflite.status == "verified"
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"], "nothing of the failed one stays"


@pytest.mark.heavy
def test_a_converter_that_crashes_is_a_failed_row(tmp_path: Path) -> None:
    (row,) = export(Network("tests:crashes", Crashes(), ((3, 2, 2),), 12), ["onnx"], tmp_path)
    assert row.status == "failed"
    assert "the converter died (SIGSEGV" in row.reason
    assert list(tmp_path.iterdir()) == [], "no half-written file"


@pytest.mark.heavy
def test_a_converter_that_is_killed_is_tried_again_and_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "tries").mkdir()
    (tmp_path / "out" / ".writing-model-x1").mkdir(parents=True)  # of a process that was killed before
    network = Network("tests:killed", Killed(tmp_path / "tries", 3), ((3, 2, 2),), 12)
    with pytest.raises(WorkerDied, match=r"ended twice \(SIGKILL, as when memory is short"):
        export(network, ["onnx"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (row,) = export(network, ["onnx"], tmp_path / "out")  # the same once more: killed a third time, then not
    assert row.status == "verified"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]


@pytest.mark.heavy
def test_exports_share_a_workshop_and_do_without_one_that_has_died(tiny_network: Network, tmp_path: Path) -> None:
    ask = partial(make_questions, tiny_network)
    with keep_export_workshop() as lend:
        rows = export_asked(ask, ["onnx"], tmp_path / "first", open_shop=lend)
        with lend() as shop, lend() as again:
            assert shop is again
            done = len(list(shop.folder.iterdir()))
        rows += export_asked(ask, ["onnx"], tmp_path / "second", open_shop=lend)
        assert len(list(shop.folder.iterdir())) > done, "the work was done there"
        shop.process.kill()
        shop.process.wait()
        rows += export_asked(ask, ["onnx"], tmp_path / "third", open_shop=lend)
        with lend() as other:
            assert other is not shop
    assert other.process.poll() is not None
    assert [row.status for row in rows] == ["verified"] * 3


@pytest.mark.heavy
def test_a_runtime_that_crashes_is_a_failed_row_and_the_file_stays(tiny_network: Network, tmp_path: Path) -> None:
    questions = make_questions(tiny_network)
    path = tmp_path / "model.onnx"
    row = write(questions, FormatJob("onnx", plugins.build("exporters", "onnx"), path))
    with open_workshop() as shop:
        written = [Written(FormatJob("onnx", EndsInItsRuntime(), path), row)]  # type: ignore[arg-type]
        (checked,) = exporting._check_all(shop, answer(questions), written, quiet)
    assert (checked.status, checked.artifact) == ("failed", row.artifact)
    assert "the runtime died while it ran the file (SIGSEGV" in checked.reason
    assert path.exists()


@pytest.mark.heavy
def test_a_network_of_the_users_own_file_reaches_the_converters(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Doubled(nn.Module):\n    def forward(self, x): return x * 2\n"
        "def make(num_classes=4): return nn.Sequential(nn.Flatten(), nn.Linear(12, num_classes), Doubled())\n"
    )
    network = build_network(f"{tmp_path / 'own.py'}:make", classes=4, input_shape=(3, 2, 2))
    (row,) = export(network, ["onnx"], tmp_path / "out")
    assert row.status == "verified"


def test_a_network_that_cannot_be_sent_says_what_of_it(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    module.generator = (number for number in (1, 2))
    (row,) = export(Network("tests:generator", module, ((3, 2, 2),), 4), ["onnx"], tmp_path)
    assert row.status == "failed"
    assert "generator" in row.reason


def test_an_unknown_target_is_refused_before_anything_is_written(tiny_network: Network, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'tflite'"):
        export(tiny_network, ["onnx", "tflit"], tmp_path / "out")
    with pytest.raises(UnknownName, match="did you mean 'dynamic_batch'"):
        export(tiny_network, {"onnx": {"dynamic_bach": True}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.heavy
def test_a_precision_is_asked_for_format_by_format_and_refused_before_anything_is_written(
    tiny_network: Network, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"\.onnx files cannot be written in precision 'fp16'"):
        export(tiny_network, {"coreml": {"precision": "fp16"}, "onnx": {"precision": "fp16"}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    coreml, onnx = export(tiny_network, {"coreml": {"precision": "fp16"}, "onnx": {}}, tmp_path / "out")
    assert coreml.artifact is not None and onnx.artifact is not None
    assert (coreml.artifact.precision, onnx.artifact.precision) == ("fp16", "fp32")


def test_nan_in_the_weights_fails_every_format_by_its_name(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    module[1].weight.data[0, 0] = float("nan")
    rows = export(Network("tests:diverged", module, ((3, 2, 2),), 4), ["onnx", "coreml"], tmp_path)
    assert [row.status for row in rows] == ["failed", "failed"]
    assert all("'1.weight' of tests:diverged holds NaN" in row.reason for row in rows)


def test_images_of_the_wrong_shape_are_the_callers_error(tiny_network: Network, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        export(tiny_network, ["onnx"], tmp_path, images=torch.zeros(3, 3, 9, 9))


def test_a_form_that_the_network_cannot_take_is_refused_before_anything_is_written(
    tiny_network: Network, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="mean and std"):
        export(tiny_network, ["onnx"], tmp_path / "out", form=AppForm(bake=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.heavy
def test_a_folder_that_is_a_file_is_a_storage_error(tiny_network: Network, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("here first")
    with pytest.raises(StorageError, match="out"):
        export(tiny_network, ["onnx"], tmp_path / "out")

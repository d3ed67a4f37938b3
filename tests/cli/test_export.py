"""Every flag of `export` reaches the order it stands for, and a real file comes out as an app needs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy_prune import __main__
from deploy_prune.errors import ConfigError, DataError
from deploy_prune.pipeline import ship
from deploy_prune.pipeline.ship import Order, exporter_options, read_labels
from deploy_prune.plugins import build
from deploy_prune.values import AppForm, Normalisation

SMALL = ("resnet20", "--classes", "10", "--input-shape", "3,32,32", "--target", "onnx")


@pytest.fixture
def ordered(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """The orders that command lines led to, instead of files."""
    seen: list[Order] = []

    def keep(order: Order, folder: Path, **_: object) -> tuple[()]:
        seen.append(order)
        return ()

    monkeypatch.setattr(ship, "ship", keep)
    return seen


def test_flags_say_what_the_app_passes_and_gets(ordered: list[Order], tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\nsmall dog\n\n")
    line = (
        "export net --target tflite,onnx --name pets --input uint8 --bake-preprocessing --softmax --mean 0.1,0.2,0.3 "
        f"--std 1,2,3 --labels {labels} --input-name camera --output-name scores,boxes"
    )
    assert __main__.run([*line.split(), "--json"]) == 0
    assert ordered[0].form == AppForm(
        name="pets",
        normalisation=Normalisation((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)),
        labels=("cat", "small dog"),
        input="uint8",
        bake=True,
        softmax=True,
        input_names=("camera",),
        output_names=("scores", "boxes"),
    )


def test_options_of_exporters_go_where_they_exist(ordered: list[Order]) -> None:
    assert __main__.run(["export", "net", "--dynamic-batch", "--opset", "20", "--precision", "fp16", "--json"]) == 0
    assert exporter_options(("tflite", "onnx", "coreml"), ordered[0].exporters) == {
        "tflite": {},
        "onnx": {"dynamic_batch": True, "opset": 20},
        "coreml": {"precision": "fp16"},
    }


def test_an_option_that_no_target_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of these formats has 'opset'"):
        exporter_options(("tflite", "coreml"), {"opset": 17})


def test_sparse_reaches_tflite(ordered: list[Order]) -> None:
    assert __main__.run(["export", "net", "--sparse", "--target", "tflite", "--json"]) == 0
    assert exporter_options(ordered[0].targets, ordered[0].exporters) == {"tflite": {"sparse": True}}


@pytest.mark.parametrize("target", [[], ["--target", "onnx"], ["--target", "tflite,onnx"]])
def test_sparse_is_refused_with_any_other_target(
    ordered: list[Order], target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.run(["export", "net", "--sparse", *target]) == ConfigError.exit_code
    told = capsys.readouterr().err
    assert "--sparse cannot be had in" in told and "onnx" in told and "--target tflite" in told
    assert not ordered


def test_a_precision_that_no_target_can_write_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of these formats has the precision 'fp16'"):
        exporter_options(("tflite", "onnx"), {"precision": "fp16"})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--input", "3,224,224"], "--input-shape"),
        (["--mean", "0.5"], "--mean and --std belong together"),
        (["--mean", "a,b", "--std", "1,2"], "--mean 'a,b' is no list of numbers"),
        (["--labels", "nowhere.txt"], "nowhere.txt"),
        (["--input", "uint8"], "add --bake-preprocessing"),
        (["--bake-preprocessing"], "--data NAME, or --mean and --std"),
        (["--data", "digits", "--bake-preprocessing", "--mean", "0.5", "--std", "0.5"], "the mean has 1 numbers"),
    ],
)
def test_flags_that_do_not_fit_are_refused_with_the_way_out(
    flags: Sequence[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.run(["export", *SMALL, "--out", str(tmp_path / "out"), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.heavy
def test_a_file_that_takes_camera_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data give mean, std and labels; the app passes bytes and gets probabilities."""
    flags = ["--data", "digits", "--input", "uint8", "--bake-preprocessing", "--softmax", "--name", "digits"]
    assert __main__.run(["export", *SMALL, *flags, "--out", str(tmp_path), "--verify", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["shipments"]
    assert (row["status"], row["parity"]["images"], row["artifact"]["baked"]) == ("verified", 200, True)
    session = build("runtimes", "onnxruntime").open(tmp_path / "digits.onnx", threads=1)
    assert [(spec.shape, spec.dtype) for spec in session.inputs] == [((1, 32, 32, 3), "uint8")]
    (probabilities,) = session.run(np.zeros((1, 32, 32, 3), np.uint8))
    assert probabilities.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.heavy
def test_a_run_folder_remembers_what_its_network_takes(bare: tuple[Path, Any], tmp_path: Path) -> None:
    """The data may be gone: mean, std and labels are in the run folder."""
    run, _ = bare
    flags = ["--target", "onnx", "--bake-preprocessing", "--out", str(tmp_path), "--verify", "--json", "--trust-code"]
    assert __main__.run(["export", str(run), *flags]) == 0


def test_labels_are_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("zero\n one \n\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt") == ("zero", "one")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="no labels"):
        read_labels(tmp_path / "empty.txt")

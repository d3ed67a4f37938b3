from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from deploy_prune import exporting as stage
from deploy_prune.errors import DataError, MissingDependency, StorageError, UnknownName
from deploy_prune.exporters.tflite import TFLite
from deploy_prune.exporting import export, export_unverified
from deploy_prune.runtimes.litert import LiteRT
from deploy_prune.values import Network


class OneImage(nn.Module):
    """A batch size baked into the forward: fine at batch 1, impossible at any other."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(x.reshape(1, 12))


def test_every_format_is_written_run_and_described(tiny_network, tmp_path):
    images = np.random.default_rng(0).standard_normal((30, *tiny_network.input_shape)).astype(np.float32)
    told = []
    rows = export(
        tiny_network, ["tflite", "onnx"], tmp_path / "out", images=images, progress=lambda *step: told.append(step)
    )
    assert [(row.format, row.status, row.reason) for row in rows] == [
        ("tflite", "verified", ""),
        ("onnx", "verified", ""),
    ]
    assert told == [("export", 0, 2, "tflite"), ("export", 1, 2, "onnx"), ("export", 2, 2)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.onnx", "model.tflite"]
    for row in rows:
        content = (tmp_path / "out" / f"model.{row.format}").read_bytes()
        assert row.artifact.size_bytes == len(content)
        assert row.artifact.sha256 == hashlib.sha256(content).hexdigest()
        assert row.artifact.input_shape == (3, 16, 24) and row.parity.images == 30
    assert [row.artifact.layout for row in rows] == ["nhwc", "nchw"]


def test_a_format_that_fails_does_not_stop_the_others(tmp_path):
    network = Network("tests:one_image", OneImage(), ((3, 2, 2),), 4)
    onnx, tflite = export(network, {"onnx": {"dynamic_batch": True}, "tflite": {}}, tmp_path)
    assert onnx.status == "failed" and onnx.artifact is None and "could not convert tests:one_image" in onnx.reason
    assert tflite.status == "verified"
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"], "nothing of the failed one stays"


def test_an_unknown_target_is_refused_before_anything_is_written(tiny_network, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'tflite'"):
        export(tiny_network, ["onnx", "tflit"], tmp_path / "out")
    with pytest.raises(UnknownName, match="did you mean 'dynamic_batch'"):
        export(tiny_network, {"onnx": {"dynamic_bach": True}}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_converter_is_a_failed_row_with_the_pip_hint(tiny_network, tmp_path, monkeypatch):
    monkeypatch.setattr(TFLite, "version", _absent("litert-torch", "tflite"))
    (row,) = export(tiny_network, ["tflite"], tmp_path)
    assert row.status == "failed" and "pip install 'deploy-prune[tflite]'" in row.reason


def test_a_missing_runtime_leaves_an_exported_file_that_nobody_has_verified(tiny_network, tmp_path, monkeypatch):
    monkeypatch.setattr(LiteRT, "version", _absent("ai-edge-litert", "litert"))
    (row,) = export(tiny_network, ["tflite"], tmp_path)
    assert (row.status, row.parity) == ("exported", None) and row.artifact is not None
    assert "pip install 'deploy-prune[litert]'" in row.reason


def _absent(package, extra):
    def version(self):
        raise MissingDependency(package, extra)

    return version


def test_a_file_that_computes_something_else_is_failed_with_its_figures(tiny_network, tmp_path, monkeypatch):
    def wrong(*arguments, **keywords):
        return stage.Parity(False, 0.031, 1e-4, 0.5, 0, 10, "10 images")

    monkeypatch.setattr(stage, "verify", wrong)
    (row,) = export(tiny_network, ["onnx"], tmp_path)
    assert row.status == "failed" and row.artifact is not None
    assert "3.1e-02 (limit 1e-04), same top-1 on 50.0%" in row.reason


def test_images_of_the_wrong_shape_are_the_callers_error(tiny_network, tmp_path):
    with pytest.raises(DataError):
        export(tiny_network, ["onnx"], tmp_path, images=torch.zeros(3, 3, 9, 9))


def test_without_verifying_the_row_says_so(tiny_network, tmp_path):
    (row,) = export_unverified(tiny_network, ["onnx"], tmp_path, stem="small")
    assert (row.status, row.reason, row.parity) == ("exported", "not verified", None)
    assert row.artifact.path == str(tmp_path / "small.onnx")


def test_a_folder_that_is_a_file_is_a_storage_error(tiny_network, tmp_path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(StorageError, match="out"):
        export(tiny_network, ["onnx"], tmp_path / "out")

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from deploy_prune import plugins
from deploy_prune.errors import InputError, MissingDependency
from deploy_prune.exporting.exporters.onnx import Onnx

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 16, 24)).astype(np.float32)


def _open(runtime, path):
    return plugins.build("runtimes", runtime).open(path, threads=1)


def _shapes(layers):
    return [array.shape for array in layers.values()]


def test_litert_shows_what_its_delegate_would_keep_to_itself(tiny_tflite):
    """Pad and convolution with its norm and ReLU6, pad and depthwise convolution, pooling, linear: channels last."""
    layers = _open("litert", tiny_tflite).layers(np.moveaxis(IMAGE, 1, -1))
    assert {(1, 16, 24, 13), (1, 13), (1, 5)} <= set(_shapes(layers))
    convolved = [array for array in layers.values() if array.shape == (1, 16, 24, 13)]
    assert any(array.min() == 0.0 and 0.0 < array.max() <= 6.0 for array in convolved), "none is what ReLU6 gives"


def test_onnxruntime_shows_nodes_that_its_optimisations_would_fuse(tiny_onnx):
    layers = list(_open("onnxruntime", tiny_onnx).layers(IMAGE).values())
    convolved, clipped = layers[:2]
    assert convolved.min() < 0.0, "before ReLU6"
    np.testing.assert_array_equal(clipped, np.clip(convolved, 0.0, 6.0))


@pytest.mark.heavy
def test_onnxruntime_shows_the_layers_of_a_batch(tiny_network, tmp_path):
    Onnx(dynamic_batch=True).write(tiny_network, tmp_path / "net.onnx")
    session = _open("onnxruntime", tmp_path / "net.onnx")
    layers = session.layers(np.concatenate([IMAGE, IMAGE + 1]))
    assert {len(array) for name, array in layers.items() if array.ndim == 4} == {2}
    for name, array in session.layers(IMAGE).items():
        if array.ndim == 4:
            np.testing.assert_allclose(layers[name][:1], array, rtol=1e-4, atol=1e-5)


def test_core_ml_shows_every_operator_of_the_program(tiny_mlpackage):
    session = _open("coreml", tiny_mlpackage)
    layers = session.layers(IMAGE)
    assert _shapes(layers)[0] == (1, 13, 16, 24) and np.array_equal(layers["output"], session.run(IMAGE)[0])


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_a_file_that_went_away_is_an_input_error(name, request, tmp_path):
    path = tmp_path / f"net.{name}"
    shutil.copy(request.getfixturevalue(f"tiny_{name}"), path)
    session = _open(plugins.load("exporters", name).runtime, path)
    path.unlink()
    with pytest.raises(InputError, match=str(path)):
        session.layers(IMAGE)


def test_without_the_package_onnx_files_run_but_show_no_layers(tiny_onnx, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    session = _open("onnxruntime", tiny_onnx)
    assert session.run(IMAGE)[0].shape == (1, 5)
    with pytest.raises(MissingDependency, match=r"'onnx'(.|\n)*deploy-prune\[onnx\]"):
        session.layers(IMAGE)

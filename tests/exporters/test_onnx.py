from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, InputError, MissingDependency
from deploy_prune.exporters import onnx as exporter_module
from deploy_prune.exporters.onnx import Onnx


@pytest.fixture(scope="module")
def any_batch(tiny_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("dynamic") / "tiny.onnx"
    Onnx(dynamic_batch=True).write(tiny_network, path)
    return path


def test_a_dynamic_batch_file_computes_every_image_of_a_batch(tiny_network, any_batch):
    """A batch of 5 gives what its images give one by one."""
    session = plugins.build("runtimes", "onnxruntime").open(any_batch, threads=1)
    images = torch.randn(5, *tiny_network.input_shape).numpy()
    session.resize(5)
    (together,) = session.run(images)
    singly = np.concatenate([session.run(images[index : index + 1])[0] for index in range(5)])
    assert together.shape == (5, 5)
    np.testing.assert_allclose(together, singly, rtol=1e-5, atol=1e-6)


def test_the_batch_is_free_only_where_asked(any_batch, tiny_onnx):
    runtime = plugins.build("runtimes", "onnxruntime")
    assert runtime.open(any_batch, threads=1).inputs[0].shape == (-1, 3, 16, 24)
    assert runtime.open(tiny_onnx, threads=1).inputs[0].shape == (1, 3, 16, 24)


def test_names_are_plain_batch_norm_is_folded_and_weights_are_inside(tiny_onnx):
    model = onnx.load(tiny_onnx, load_external_data=False)
    assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert not any(each.external_data for each in model.graph.initializer)


def test_the_file_does_not_tell_where_it_was_made(tiny_onnx):
    content = tiny_onnx.read_bytes()
    assert b"stack_trace" not in content and b"site-packages" not in content and b".py" not in content


def test_a_newer_opset_is_written(tiny_network, tmp_path):
    Onnx(opset=20).write(tiny_network, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 20


def test_an_old_opset_is_refused_with_the_oldest_that_works():
    with pytest.raises(ConfigError, match="opset 11") as caught:
        plugins.build("exporters", "onnx", {"opset": 11})
    assert "18" in caught.value.hint


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def absent(name):
        raise exporter_module.PackageNotFoundError(name)

    monkeypatch.setattr(exporter_module, "version", absent)
    with pytest.raises(MissingDependency, match=r"onnxscript(.|\n)*deploy-prune\[onnx\]"):
        Onnx().version()


def test_a_fixed_file_refuses_a_batch(tiny_onnx):
    session = plugins.build("runtimes", "onnxruntime").open(tiny_onnx, threads=1)
    with pytest.raises(InputError) as caught:
        session.resize(2)
    assert "dynamic_batch" in caught.value.hint

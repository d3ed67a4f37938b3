from __future__ import annotations

import copy
import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deploy_prune import __version__, plugins
from deploy_prune.errors import ConfigError, ExportFailed, InputError
from deploy_prune.exporting.exporters.onnx import Onnx
from deploy_prune.formats import onnx_opsets
from deploy_prune.values import AppForm, Network, Normalisation


@pytest.fixture(scope="module")
def any_batch(tiny_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("dynamic") / "tiny.onnx"
    Onnx(dynamic_batch=True).write(tiny_network, path)
    return path


@pytest.mark.heavy
def test_a_dynamic_batch_file_computes_every_image_of_a_batch(tiny_network, any_batch):
    """A batch of 5 gives what its images give one by one."""
    session = plugins.build("runtimes", "onnxruntime").open(any_batch, threads=1)
    images = torch.randn(5, *tiny_network.input_shape).numpy()
    session.resize(5)
    (together,) = session.run(images)
    singly = np.concatenate([session.run(images[index : index + 1])[0] for index in range(5)])
    assert together.shape == (5, 5)
    np.testing.assert_allclose(together, singly, rtol=1e-5, atol=1e-6)


@pytest.mark.heavy
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


@pytest.mark.heavy
def test_a_newer_opset_is_written(tiny_network, tmp_path):
    Onnx(opset=20).write(tiny_network, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 20


def test_an_old_opset_is_refused_with_the_oldest_that_works():
    with pytest.raises(ConfigError, match="opset 11") as caught:
        plugins.build("exporters", "onnx", {"opset": 11})
    assert "13" in caught.value.hint


def test_a_fixed_file_refuses_a_batch(tiny_onnx):
    session = plugins.build("runtimes", "onnxruntime").open(tiny_onnx, threads=1)
    with pytest.raises(InputError) as caught:
        session.resize(2)
    assert "dynamic_batch" in caught.value.hint


def _export(module, shape, tmp_path, opset, *, dynamic_batch=False):
    network = Network("tests:net", module.eval(), (shape,), 2)
    path = tmp_path / "net.onnx"
    Onnx(opset=opset, dynamic_batch=dynamic_batch).write(network, path)
    model = onnx.load(path)
    assert model.opset_import[0].version == opset
    image = torch.randn(2 if dynamic_batch else 1, *shape, generator=torch.Generator().manual_seed(3))
    session = plugins.build("runtimes", "onnxruntime").open(path, threads=1)
    with torch.no_grad():
        np.testing.assert_allclose(session.run(image.numpy())[0], module(image).numpy(), rtol=1e-4, atol=1e-6)
    return model


@pytest.mark.heavy
@pytest.mark.parametrize("opset", range(13, 18))
def test_every_older_opset_has_a_file_that_computes_the_same(tiny_network, tmp_path, opset):
    module = copy.deepcopy(tiny_network.module).eval()
    model = _export(module, tiny_network.input_shape, tmp_path, opset)
    assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    referred = {name for node in model.graph.node for name in node.input}
    assert {each.name for each in model.graph.initializer} <= referred, "what only newer forms need is gone"


@pytest.mark.heavy
def test_a_file_of_an_older_opset_takes_any_batch(tiny_network, tmp_path):
    _export(copy.deepcopy(tiny_network.module).eval(), tiny_network.input_shape, tmp_path, 13, dynamic_batch=True)


class _Parts(nn.Module):
    """Split in two forms, a norm that cannot be folded, hard swish, padding, resizing, a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.norm, self.up = nn.BatchNorm2d(6), nn.ConvTranspose2d(6, 3, 2, stride=2)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x):
        one, two, rest = nn.functional.hardswish(self.norm(x)).chunk(3, 1)
        small, large = x.split([2, 4], 1)
        y = torch.cat([one, two * small, rest, large[:, :2].amax((2, 3), keepdim=True) + small], 1)
        y = self.up(nn.functional.interpolate(nn.functional.pad(y[:, :6], (1, 0, 2, 1)), scale_factor=2.0))
        return nn.functional.leaky_relu(y).reshape(y.shape[0], -1)[:, :40] ** 2


@pytest.mark.heavy
@pytest.mark.parametrize("opset", [13, 15, 17])
def test_operators_that_changed_are_written_in_their_old_form(tmp_path, opset):
    torch.manual_seed(0)
    model = _export(_Parts(), (6, 5, 7), tmp_path, opset)
    operators = {node.op_type for node in model.graph.node}
    assert {"Split", "BatchNormalization", "Pad", "Resize", "ReduceMax", "Reshape"} <= operators
    assert ("HardSwish" in operators) == (opset >= 14)


@pytest.mark.heavy
def test_unequal_parts_of_a_split_keep_their_sizes_below_opset_18(tmp_path):
    """7 channels in 3 parts are 3, 3 and 1: the number of parts alone would not say so there."""

    class Chunks(nn.Module):
        def forward(self, x):
            one, two, three = x.chunk(3, 1)
            return (one + two).sum(1) * three.sum(1)

    _export(Chunks(), (7, 2, 3), tmp_path, 13)


@pytest.mark.heavy
def test_an_operator_without_an_older_form_is_refused_by_name_and_opset(tmp_path):
    module = nn.LayerNorm(6).eval()
    with pytest.raises(ExportFailed, match=r"LayerNormalization \(.*opset 16: the operator is newer \(opset 17\)"):
        Onnx(opset=16).write(Network("tests:norm", module, ((4, 6),), 2), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_a_changed_operator_that_is_in_no_table_is_refused():
    """ScatterND takes more reductions since opset 18."""
    helper = onnx.helper
    sizes = {"x": [4], "at": [1, 1], "new": [1], "y": [4]}
    types = {"at": onnx.TensorProto.INT64}
    infos = [
        helper.make_tensor_value_info(name, types.get(name, onnx.TensorProto.FLOAT), size)
        for name, size in sizes.items()
    ]
    graph = helper.make_graph([helper.make_node("ScatterND", ["x", "at", "new"], ["y"])], "graph", infos[:3], infos[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(ExportFailed, match=r"ScatterND .* cannot be written at opset 17: it changed at opset 18"):
        onnx_opsets.lower_opset(model, 17)


@pytest.mark.heavy
@pytest.mark.parametrize(("opset", "oldest"), [(13, 7), (15, 8), (18, 8), (20, 9)])
def test_the_file_format_is_the_oldest_that_has_the_opset(tiny_network, tmp_path, opset, oldest):
    Onnx(opset=opset).write(tiny_network, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx").ir_version == oldest


def test_the_file_says_what_made_it_and_what_the_input_means(tiny_network, tmp_path):
    normalisation = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.5))
    Onnx(opset=13).write(tiny_network, tmp_path / "net.onnx", AppForm(normalisation=normalisation))
    model = onnx.load(tmp_path / "net.onnx")
    assert (model.producer_name, model.producer_version) == ("deploy-prune", __version__)
    known = {each.key: each.value for each in model.metadata_props}
    assert (known["input_layout"], known["input_type"], known["color_order"]) == ("NCHW", "float32", "RGB")
    assert json.loads(known["input_range"]) == [-2.0, 2.0]
    assert "(pixel * scale - mean) / std" in known["preprocessing"]

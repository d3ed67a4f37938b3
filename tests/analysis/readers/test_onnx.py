from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy_prune.analysis.describe import describe
from deploy_prune.analysis.readers.onnx import Onnx, find_oldest_release
from deploy_prune.errors import InputError

IMAGE = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4])
LOGITS = helper.make_tensor_value_info("logits", TensorProto.FLOAT16, [None, 4])


def saved(path, *nodes, weights=(), inputs=(IMAGE,), **model):
    graph = helper.make_graph(list(nodes), "net", list(inputs), [LOGITS], list(weights))
    made = helper.make_model(graph, **{"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8, **model})
    made.metadata_props.add(key="labels", value="cat\ndog")
    onnx.save(made, str(path))
    return path


@pytest.mark.parametrize(
    ("opset", "ir", "release"),
    [(9, 3, "0.3"), (17, 8, "1.12"), (19, 8, "1.15"), (19, 9, "1.16"), (18, 10, "1.18"), (21, 10, "1.18")],
)
def test_the_oldest_release_takes_the_opset_and_the_ir_version(opset, ir, release):
    assert find_oldest_release({"ai.onnx": opset}, ir) == release


@pytest.mark.parametrize(("opset", "ir"), [(22, 10), (18, 11)])
def test_what_the_published_table_does_not_reach_is_said_to_be_newer(opset, ir):
    assert find_oldest_release({"ai.onnx": opset}, ir).startswith("newer than 1.20")


def test_operators_of_other_domains_bear_them_and_inner_graphs_count(tmp_path):
    inner = helper.make_graph([helper.make_node("Relu", ["image"], ["y"])], "inner", [], [LOGITS])
    branch = helper.make_node("If", ["image"], ["logits"], then_branch=inner, else_branch=inner)
    custom = helper.make_node("Gelu", ["image"], ["x"], domain="com.microsoft")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    report = Onnx().read(saved(tmp_path / "net.onnx", custom, branch, opset_imports=imports))
    assert {row.name: row.count for row in report.operators} == {"Relu": 2, "If": 1, "com.microsoft.Gelu": 1}
    assert report.version == "IR 8, opset 17 of ai.onnx, opset 1 of com.microsoft"


def test_bytes_are_told_by_type_whatever_way_a_tensor_is_stored(tmp_path):
    half = numpy_helper.from_array(np.ones((4, 4), np.float16), "half")
    listed = helper.make_tensor("listed", TensorProto.INT64, [3], [1, 2, 3])
    quarter = helper.make_tensor("quarter", TensorProto.INT4, [5], [1, 2, 3, 4, 5])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(6, np.float32)))
    path = saved(tmp_path / "net.onnx", constant, weights=[half, listed, quarter])
    assert Onnx().read(path).weights_bytes == {"float16": 32, "float32": 24, "int64": 24, "int4": 3}


def test_named_and_nameless_dimensions_take_any_size_and_weights_are_no_inputs(tmp_path):
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "weight")
    listed = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4, 4])
    node = helper.make_node("MatMul", ["image", "weight"], ["logits"])
    report = Onnx().read(saved(tmp_path / "net.onnx", node, weights=[weight], inputs=(IMAGE, listed)))
    assert [(spec.name, spec.shape, spec.dtype) for spec in report.inputs] == [("image", (-1, 4), "float32")]
    assert [(spec.name, spec.shape, spec.dtype) for spec in report.outputs] == [("logits", (-1, 4), "float16")]


def test_metadata_is_one_line_each(tmp_path):
    node = helper.make_node("Relu", ["image"], ["logits"])
    report = Onnx().read(saved(tmp_path / "net.onnx", node, producer_name="hand", doc_string="made here"))
    assert report.metadata == {"producer": "hand", "description": "made here", "labels": "cat dog"}


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_refused(tmp_path):
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "weight")
    weight.dims[0] = 5
    path = saved(tmp_path / "net.onnx", helper.make_node("Relu", ["image"], ["logits"]), weights=[weight])
    with pytest.raises(InputError, match="tensor 'weight' has 64 bytes, its shape asks for 80"):
        describe(path)

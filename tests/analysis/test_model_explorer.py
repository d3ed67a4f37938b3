"""Overlays name the nodes that Model Explorer shows, and errors see the operator that computes something else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy_prune import plugins
from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.explain import explain
from deploy_prune.analysis.model_explorer import GRAPH, measure_node_errors, write_overlays
from deploy_prune.errors import InputError
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import Artifact

HERE = device_at(THIS_MACHINE)


def describe(path: Path, layout: str) -> Artifact:
    """What a run's record says of it: the tiny network takes 3 x 16 x 24."""
    return replace(describe_artifact(path), layout=layout, input_shape=(3, 16, 24))  # type: ignore[arg-type]


@pytest.mark.heavy
def test_every_weighted_operator_has_its_milliseconds_and_a_small_error(
    tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    explained = explain(tiny_tflite, tiny_tflite)
    artifacts = (describe(tiny_tflite, "nhwc"), describe(tiny_onnx, "nchw"))
    written = {path.name: json.loads(path.read_text()) for path in write_overlays(explained, artifacts, tmp_path, HERE)}
    assert set(written) == {"tiny.ms.json", "tiny.error.json"}
    operators = plugins.build(TEMPLATES, "tflite").read(tiny_tflite.read_bytes()).structure.operators
    weighted = {str(place) for place, operator in enumerate(operators) if operator.weight}
    for overlay in written.values():
        assert set(overlay) == {GRAPH} and weighted <= set(overlay[GRAPH]["results"])
    assert sum(each["value"] for each in written["tiny.ms.json"][GRAPH]["results"].values()) > 0
    assert max(each["value"] for each in written["tiny.error.json"][GRAPH]["results"].values()) < 1e-5


@pytest.mark.heavy
def test_an_operator_with_other_weights_is_far_off(tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(tiny_onnx)
    last = max((each for each in model.graph.initializer if len(each.dims) == 2), key=lambda each: np.prod(each.dims))
    last.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(last), last.name))
    onnx.save(model, tmp_path / "other.onnx")
    errors = measure_node_errors(describe(tiny_tflite, "nhwc"), describe(tmp_path / "other.onnx", "nchw"), HERE)
    assert errors[max(errors)] > 0.1 and sum(error > 0.1 for error in errors.values()) == 1


@pytest.mark.heavy
def test_nodes_are_called_as_model_explorer_calls_them(tiny_tflite: Path) -> None:
    adapter = pytest.importorskip("ai_edge_model_explorer_adapter", reason="Model Explorer's adapter is not installed")
    (shown,) = json.loads(adapter.ConvertFlatbufferDirectlyToJson(adapter.VisualizeConfig(), str(tiny_tflite)))
    (graph,) = shown["subgraphs"]
    assert graph["id"] == GRAPH
    labels = {node["id"]: node["label"] for node in graph["nodes"]}
    operators = plugins.build(TEMPLATES, "tflite").read(tiny_tflite.read_bytes()).structure.operators
    assert [labels[str(place)].upper() for place in range(len(operators))] == [each.name for each in operators]


def test_without_a_tflite_file_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="and none was explained"):
        write_overlays((), (), tmp_path, HERE)

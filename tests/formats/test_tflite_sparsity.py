"""A .tflite file whose 1x1 convolutions are stored without zeros computes what the dense one does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import needs_simulator
from sparse_rows import expand

from deploy_prune.formats.csr import SparseRows
from deploy_prune.formats.tflite_clusters import find_clusters
from deploy_prune.formats.tflite_file import pack_model
from deploy_prune.formats.tflite_sparsity import part_classifiers, store_sparse
from deploy_prune.timing.devices import Job
from deploy_prune.timing.devices.sim import Known, Sim, SimWorker

IMAGE = np.random.default_rng(1).standard_normal((1, 16, 16, 3)).astype(np.float32)


def stored(model: Any) -> tuple[Any, int]:
    """A copy with its pointwise convolutions stored sparsely, and how many are."""
    sparse = copy.deepcopy(model)
    found = store_sparse(sparse, schema, [op for each in find_clusters(sparse, schema) for op in each.pointwise])
    return sparse, found


def list_kinds(model: Any) -> list[int]:
    return [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in model.subgraphs[0].operators]


def test_all_four_convolutions_are_behind_densify_and_the_file_is_smaller() -> None:
    dense = tiny_tflite.mobile()
    sparse, found = stored(dense)
    assert found == 4
    kinds = list_kinds(sparse)
    assert kinds == [schema.BuiltinOperator.DENSIFY] * 4 + list_kinds(dense)
    # 300 x 40 + 40 x 8 + 8 x 24 + 24 x 8 weights of 4 bytes, 4 in 5 of them gone, a byte each to say where
    assert len(pack_model(dense)) - len(pack_model(sparse)) > 0.7 * 4 * (300 * 40)


@pytest.mark.parametrize("delegated", [True, False])
def test_litert_computes_the_same(delegated: bool) -> None:
    dense = tiny_tflite.mobile()
    sparse, _ = stored(dense)
    expected = tiny_tflite.run(dense, IMAGE, delegated=delegated)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(tiny_tflite.run(sparse, IMAGE, delegated=delegated), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(zeros=st.floats(0.67, 1.0), seed=st.integers(0, 1000))
def test_what_the_file_stores_are_the_weights(zeros: float, seed: int) -> None:
    dense = tiny_tflite.mobile(zeros, seed=seed)
    sparse, _ = stored(dense)
    again = schema.ModelT.InitFromObj(schema.Model.GetRootAs(pack_model(sparse), 0))
    for place, tensor in enumerate(dense.subgraphs[0].tensors):
        found = again.subgraphs[0].tensors[place]
        if found.sparsity is not None:
            np.testing.assert_array_equal(_fill(again, found), _numbers(dense, tensor))


def _numbers(model: Any, tensor: Any) -> np.ndarray:
    data = model.buffers[tensor.buffer].data
    return np.frombuffer(bytes(data) if data is not None else b"", np.float32).reshape(tensor.shape)


def _fill(model: Any, tensor: Any) -> np.ndarray:
    rows = tensor.sparsity.dimMetadata[-1]
    assert [each.denseSize for each in tensor.sparsity.dimMetadata[:-1]] == tensor.shape[:-1].tolist()
    data = model.buffers[tensor.buffer].data
    values = np.frombuffer(bytes(data) if data is not None and len(data) else b"", np.float32)
    columns = np.array(rows.arrayIndices.values, int)
    return expand(SparseRows(np.array(rows.arraySegments.values, int), columns, values), tensor.shape[-1]).reshape(
        tensor.shape
    )


def test_a_tensor_that_would_become_larger_stays_dense() -> None:
    tiny = tiny_tflite.Tiny()
    wide = tiny.conv(tiny_tflite.stem(tiny), 24, zeros=0.1)
    features = tiny.mean(tiny.conv(wide, 300, zeros=0.9), keep=True)
    sparse, found = stored(tiny.finish(features))
    assert found == 1
    assert sum(tensor.sparsity is not None for tensor in sparse.subgraphs[0].tensors) == 1


def test_weights_that_another_tensor_shares_stay_for_that_one() -> None:
    dense = tiny_tflite.mobile()
    (cluster,) = find_clusters(dense, schema)
    graph = dense.subgraphs[0]
    shared = graph.tensors[cluster.pointwise[0].inputs[1]]
    other = copy.copy(shared)
    graph.tensors.append(other)
    before = bytes(dense.buffers[other.buffer].data)
    sparse, _ = stored(dense)
    assert bytes(sparse.buffers[sparse.subgraphs[0].tensors[len(graph.tensors) - 1].buffer].data) == before
    np.testing.assert_allclose(tiny_tflite.run(sparse, IMAGE), tiny_tflite.run(dense, IMAGE), rtol=1e-5, atol=1e-6)


def test_one_tensor_of_two_convolutions_is_stored_once() -> None:
    tiny = tiny_tflite.Tiny()
    first = tiny.conv(tiny_tflite.stem(tiny), 8, zeros=0.8)
    second = tiny.conv(first, 8, zeros=0.8)
    tiny.graph.operators[-1].inputs[1] = tiny.graph.operators[-2].inputs[1]
    dense = tiny.finish(tiny.mean(second))
    sparse, found = stored(dense)
    assert found == 1
    np.testing.assert_allclose(tiny_tflite.run(sparse, IMAGE), tiny_tflite.run(dense, IMAGE), rtol=1e-5, atol=1e-6)


def test_a_reshape_parts_a_classifier_from_the_mean_and_changes_no_bit() -> None:
    tiny = tiny_tflite.Tiny()
    plain = tiny.finish(tiny.dense(tiny.mean(tiny.conv(tiny_tflite.stem(tiny), 16, zeros=0.8)), 50))
    parted = copy.deepcopy(plain)
    part_classifiers(parted, schema)
    reshape = schema.BuiltinOperator.RESHAPE
    assert list_kinds(parted) == [*list_kinds(plain)[:-1], reshape, list_kinds(plain)[-1]]
    np.testing.assert_array_equal(tiny_tflite.run(parted, IMAGE), tiny_tflite.run(plain, IMAGE))
    part_classifiers(parted, schema)
    assert list_kinds(parted).count(reshape) == 1, "it is parted already"


@needs_simulator
@pytest.mark.slow
def test_arms_kernels_skip_the_zeros_and_compute_the_same(tmp_path: Path) -> None:
    """x86-64 with AVX never computes sparsely; at 64 x 64, whatever stands between the 1x1 convolutions."""
    image = np.random.default_rng(1).standard_normal((1, 64, 64, 3)).astype(np.float32)
    device, path = Sim("cortex-a72"), tmp_path / "net.tflite"
    path.write_bytes(pack_model(tiny_tflite.around(tiny_tflite.BLOCKS["a residual"], 64)))
    with device.start(Job(path, "litert", 1, device.cores(1), seed=0)) as worker:
        for name, block in tiny_tflite.BLOCKS.items():
            dense = tiny_tflite.around(block, 64)
            sparse, _ = stored(dense)
            expected, before = _count(worker, path, dense, image)
            answer, after = _count(worker, path, sparse, image)
            assert after.instructions < 0.85 * before.instructions, name
            assert after.done.vector < 0.7 * before.done.vector, name
            assert np.abs(answer - expected).max() <= 2e-5 * np.abs(expected).max(), name


def _count(worker: SimWorker, path: Path, model: Any, image: np.ndarray) -> tuple[np.ndarray, Known]:
    path.write_bytes(pack_model(model))
    opened = worker.open(path)
    (answer,) = opened.run(image, timeout_s=100)
    opened.block(1, timeout_s=100)
    return answer, opened.meter.known[opened.digest]

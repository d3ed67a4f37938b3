"""Sparse 1x1 convolutions in LiteRT: instructions and bytes against the dense file, at masks of DKP's kinds.

    python -m benchmarks.sparse [--table]

Networks of 224 x 224 and 1000 classes with random weights, of which the smallest 1x1 kernels of every layer are masked:
singly, or for 4 outputs at once (`filters=4`). What is counted depends on which weights are 0 and on nothing else of
them. Simulated Cortex-A72: x86-64 with AVX never computes sparsely. Outputs are held against the dense file's there.
A phone: "Fast Sparse ConvNets" (arXiv 1911.09723). Ten minutes on a core.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.recording import write
from benchmarks.subjects import SUBJECTS, cell, stored
from benchmarks.trained import asked, seconds_told
from deploy_prune.analysis.describe import read_report
from deploy_prune.budget.latency.resizable import randomise_weights
from deploy_prune.exporting.exporters.tflite import SPARSE, TFLite
from deploy_prune.formats.tflite_file import pack_model
from deploy_prune.formats.tflite_graph import view_graph
from deploy_prune.formats.tflite_sparse_rules import Looked, Role, judge
from deploy_prune.formats.tflite_sparsity import part_classifiers, store_sparse
from deploy_prune.sources.networks import build_network
from deploy_prune.timing.devices import THIS_MACHINE, Job, device_at
from deploy_prune.timing.devices.sim import Sim
from deploy_prune.values import Network

TABLE, CORE = "sparse", "cortex-a72"
NETWORKS = ("MobileNetV1", "MobileNetV2")
MASKS = tuple((share, filters) for share in (0.75, 0.85) for filters in (1, 4))
"""The share of kernels that is masked, and for how many outputs at once."""
BROKEN, SIDE = "broken", 230
PHONE = (1.3, 2.4)
"""How many times as fast sparse networks were on a Snapdragon 835."""
RELATIVE = 1e-5
"""The limit of the largest difference to the dense file's outputs over the largest output."""
TIMEOUT_S = 600.0


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__)
    if not todo.table_only:
        for name in NETWORKS:
            seconds_told(name, cell(TABLE, f"{name}-dense", lambda name=name: _measure_dense(name)))  # type: ignore[misc]
            for share, filters in MASKS:
                key = _key(name, share, filters)
                row = cell(TABLE, key, lambda n=name, s=share, f=filters: _measure_sparse(n, s, f))  # type: ignore[misc]
                seconds_told(key, row)
        seconds_told(BROKEN, cell(TABLE, BROKEN, _measure_broken))
    return _write()


def _key(name: str, share: float, filters: int) -> str:
    return f"{name}-{share}-{filters}"


def _measure_dense(name: str) -> dict[str, Any]:
    network = SUBJECTS[name].network()
    with tempfile.TemporaryDirectory() as folder:
        return _measure(network, TFLite(), Path(folder))[0]


def _measure_sparse(name: str, share: float, filters: int) -> dict[str, Any]:
    network = mask_smallest(SUBJECTS[name].network(), share, filters)
    with tempfile.TemporaryDirectory() as folder:
        dense, expected = _measure(network, TFLite(), Path(folder))
        sparse, found = _measure(network, TFLite(sparse=True), Path(folder))
        note = read_report(Path(folder) / "network.tflite").metadata[SPARSE]
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    seconds = dense["seconds"] + sparse["seconds"]
    return {**sparse, "note": note, "relative_difference": difference, "seconds": seconds}


def _measure_broken() -> dict[str, Any]:
    """What a file answers whose weights are stored sparsely although an operator breaks the rules.

    At 230 x 230 a convolution halves an image of 115 x 115, before which padding is what the format calls SAME.
    """
    began = time.monotonic()
    network = randomise_weights(build_network("torchvision:mobilenet_v2", input_shape=(3, SIDE, SIDE)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        TFLite().write(mask_smallest(network, *MASKS[0]), path)
        expected = _answer(THIS_MACHINE, path)
        path.write_bytes(_store_anyhow(path.read_bytes()))
        here, there = (_answer(address, path) for address in (THIS_MACHINE, f"sim://{CORE}"))
    largest = np.abs(expected).max()
    return {
        "what": "a depthwise convolution that pads by SAME at a stride",
        "here": float(np.abs(here - expected).max() / largest),
        "relative_difference": float(np.abs(there - expected).max() / largest),
        "seconds": time.monotonic() - began,
    }


def _store_anyhow(content: bytes) -> bytes:
    """Store the 1x1 convolutions of a file sparsely, without asking XNNPACK's rules."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    part_classifiers(model, schema)
    looked = Looked(view_graph(model), schema)
    pointwise = [each for each in looked.graph.operators if judge(looked, each).role is Role.POINTWISE]
    store_sparse(model, schema, pointwise)
    return pack_model(model)


def _answer(address: str, path: Path) -> np.ndarray:
    device = device_at(address)
    with device.start(Job(path, "litert", 1, device.cores(1), seed=0)) as worker:
        return worker.run(_draw_image(worker.inputs[0].shape), timeout_s=TIMEOUT_S)[0]


def _draw_image(shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def mask_smallest(network: Network, share: float, filters: int) -> Network:
    """Mask the smallest kernels of every 1x1 convolution, for so many outputs at once."""
    module = copy.deepcopy(network.module)
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1:
            with torch.no_grad():
                part.weight *= _keep_largest(part.weight, share, filters)
    return dataclasses.replace(network, module=module)


def _keep_largest(weight: torch.Tensor, share: float, filters: int) -> torch.Tensor:
    sizes = weight.flatten(1).square()
    blocks = torch.stack([rows.sum(0) / len(rows) for rows in sizes.split(filters)])
    kept = torch.zeros(blocks.numel())
    kept[blocks.flatten().topk(math.ceil((1 - share) * blocks.numel())).indices] = 1
    return kept.reshape(blocks.shape).repeat_interleave(filters, 0)[: len(weight)].reshape(weight.shape)


def _measure(network: Network, exporter: TFLite, folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    """What a file costs, and what it answers to one image."""
    began, device, path = time.monotonic(), Sim(CORE), folder / "network.tflite"
    exporter.write(network, path)
    with device.start(Job(path, "litert", 1, device.cores(1), seed=0)) as worker:
        answer = worker.run(_draw_image(worker.inputs[0].shape), timeout_s=TIMEOUT_S)[0]
        worker.block(1, timeout_s=TIMEOUT_S)
        known = worker.meter.known[worker.digest]
    costs = {"instructions": known.instructions, "cycles": known.cost, "multiply_adds": known.done.vector}
    return {**costs, "bytes": path.stat().st_size, "seconds": time.monotonic() - began}, answer


def _write() -> int:
    rows: dict[str, Any] = {}
    for name in NETWORKS:
        cells = {"dense": stored(TABLE, f"{name}-dense")}
        cells |= {f"{share:.0%}, {filters}": stored(TABLE, _key(name, share, filters)) for share, filters in MASKS}
        rows[name] = {key: row for key, row in cells.items() if row}
    result = {
        "core": Sim(CORE).fingerprint,
        "rows": rows,
        "broken": stored(TABLE, BROKEN),
        "phone": PHONE,
        "limit": RELATIVE,
    }
    print(write(TABLE, "python -m benchmarks.sparse", result, ("ai-edge-litert", "litert-torch", "torch")))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A pruned network on disk gives back the same logits bit for bit, and whatever was tampered with is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from laws import halves, random_keep

from deploy_prune.errors import DeployPruneError, PlanError, RecordError, WeightsError
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.records import sha256
from deploy_prune.sources import checkpoint
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Network


def dense() -> Network:
    torch.manual_seed(3)
    return build_network("resnet20", classes=4, input_shape=(3, 16, 16))


def once() -> Network:
    network = dense()
    graph = trace(network)
    return cut(network, graph, halves(graph))


def twice() -> Network:
    network = once()
    graph = trace(network)
    return cut(network, graph, random_keep(graph, 5))


def logits(network: Network) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return network.module(torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize("make", [dense, once, twice])
def test_loading_gives_the_same_logits_bit_for_bit(make: Callable[[], Network], tmp_path: Path) -> None:
    network = make()
    checkpoint.save(network, tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert torch.equal(logits(loaded), logits(network))
    assert not loaded.module.training
    assert (loaded.address, loaded.classes, loaded.input_shapes) == ("resnet20", 4, ((3, 16, 16),))


def test_a_network_without_classes_survives_the_disk(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from torch import nn\ndef maps():\n    return nn.Conv2d(3, 7, 1)\n")
    network = build_network(f"{tmp_path / 'own.py'}:maps", input_shape=(3, 4, 4))
    checkpoint.save(network, tmp_path / "saved")
    again = checkpoint.load(tmp_path / "saved")
    assert again.classes is None
    assert torch.equal(again.module(torch.ones(1, 3, 4, 4)), network.module(torch.ones(1, 3, 4, 4)))


def test_what_is_kept_survives_the_disk(tmp_path: Path) -> None:
    network = twice()
    checkpoint.save(network, tmp_path)
    loaded = checkpoint.load(tmp_path)
    lost = {(name, axis): kept for name, axes in network.kept.items() for axis, kept in axes.items()}
    again = {(name, axis): kept for name, axes in loaded.kept.items() for axis, kept in axes.items()}
    assert lost.keys() == again.keys()
    assert all(np.array_equal(lost[place], again[place]) for place in lost)


@pytest.mark.heavy
def test_a_fresh_process_loads_it(tmp_path: Path) -> None:
    network = once()
    checkpoint.save(network, tmp_path)
    code = (
        "import sys, pathlib, torch\n"
        "from deploy_prune.sources import checkpoint\n"
        "network = checkpoint.load(pathlib.Path(sys.argv[1]))\n"
        "torch.manual_seed(1)\n"
        "with torch.no_grad(): print(network.module(torch.randn(2, 3, 16, 16)).double().tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == logits(network).double().tolist()


def test_neither_saving_nor_loading_moves_the_callers_generator(tmp_path: Path) -> None:
    network = once()
    state = torch.get_rng_state()
    checkpoint.save(network, tmp_path)
    checkpoint.load(tmp_path)
    assert torch.equal(state, torch.get_rng_state())


def test_the_files_are_json_and_safetensors_alone(tmp_path: Path) -> None:
    checkpoint.save(once(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.json", "plan.json", "weights.safetensors"]
    content = (tmp_path / "weights.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["conv1.weight"]["shape"] == [8, 3, 3, 3]  # safetensors, not a pickle with that name


def test_a_loaded_network_shares_nothing_with_another_load(tmp_path: Path) -> None:
    checkpoint.save(once(), tmp_path)
    first, second = checkpoint.load(tmp_path), checkpoint.load(tmp_path)
    with torch.no_grad():
        first.module.conv1.weight.zero_()
    assert bool(second.module.conv1.weight.any())


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


def _edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    return tamper


def _of_another_network(folder: Path) -> None:
    other = folder / "other"
    checkpoint.save(dense(), other)
    (other / "weights.safetensors").replace(folder / "weights.safetensors")
    digest = sha256(folder / "weights.safetensors")
    _edit("network.json", lambda document: document["value"].update(weights_sha256=digest))(folder)


TAMPERED: dict[str, tuple[Callable[[Path], None], type[DeployPruneError], str]] = {
    "a flipped bit": (_flip_a_bit, RecordError, "not the file that was saved"),
    "no weights": (lambda folder: (folder / "weights.safetensors").unlink(), RecordError, "is missing"),
    "no description": (lambda folder: (folder / "network.json").unlink(), RecordError, "no finished network"),
    "half a description": (
        lambda folder: (folder / "network.json").write_text('{"schema": 1, "va'), RecordError, "is damaged",
    ),
    "another schema": (_edit("plan.json", lambda d: d.update(schema=99)), RecordError, "schema 99"),
    "an unknown group": (_edit("plan.json", lambda d: d["value"]["keep"].update(z=[0])), PlanError, "does not fit"),
    "a unit too many": (
        _edit("plan.json", lambda d: d["value"]["keep"].update(conv1=[0, 16])), PlanError, "does not fit",
    ),
    "another width": (
        _edit("plan.json", lambda d: d["value"]["keep"].update(conv1=[0, 1])), WeightsError, "has shape",
    ),
    "weights of another network": (_of_another_network, WeightsError, "has shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_tampered_with_is_refused(name: str, tmp_path: Path) -> None:
    tamper, error, message = TAMPERED[name]
    checkpoint.save(once(), tmp_path)
    tamper(tmp_path)
    with pytest.raises(error, match=message):
        checkpoint.load(tmp_path)


def test_a_dense_network_saved_over_a_cut_one_is_dense(tmp_path: Path) -> None:
    checkpoint.save(once(), tmp_path)
    network = dense()
    checkpoint.save(network, tmp_path)
    assert torch.equal(logits(checkpoint.load(tmp_path)), logits(network))


def with_masks() -> Network:
    network = once()
    weight = network.module.get_parameter("layer2.1.conv2.weight")
    mask = torch.rand(weight.shape[:2], generator=torch.Generator().manual_seed(0))[..., None, None] > 0.5
    return dataclasses.replace(network, masks={"layer2.1.conv2.weight": mask.expand(weight.shape)})


def test_kernel_masks_survive_the_disk_and_a_second_cut(tmp_path: Path) -> None:
    network = with_masks()
    checkpoint.save(network, tmp_path)
    loaded = checkpoint.load(tmp_path)
    (name,) = loaded.masks
    assert torch.equal(loaded.masks[name], network.masks[name])
    graph = trace(loaded)
    again = cut(loaded, graph, halves(graph))
    assert again.masks[name].shape == again.module.get_parameter(name).shape
    assert torch.equal(again.masks[name], cut(network, graph, halves(graph)).masks[name])


def test_masks_that_are_numbers_are_refused(tmp_path: Path) -> None:
    network = with_masks()
    checkpoint.save(
        dataclasses.replace(network, masks={name: m.float() for name, m in network.masks.items()}), tmp_path
    )
    with pytest.raises(RecordError, match="does not have so"):
        checkpoint.load(tmp_path)


def test_a_network_without_masks_leaves_none_behind(tmp_path: Path) -> None:
    checkpoint.save(with_masks(), tmp_path)
    checkpoint.save(once(), tmp_path)
    assert not checkpoint.load(tmp_path).masks


def test_lost_or_changed_masks_are_refused(tmp_path: Path) -> None:
    checkpoint.save(with_masks(), tmp_path)
    (tmp_path / checkpoint.MASKS).write_bytes((tmp_path / checkpoint.MASKS).read_bytes()[:-1])
    with pytest.raises(RecordError, match="missing or not the file that was saved"):
        checkpoint.load(tmp_path)
    (tmp_path / checkpoint.MASKS).unlink()
    with pytest.raises(RecordError, match="missing or not the file that was saved"):
        checkpoint.load(tmp_path)

"""Weights load into a new network, and everything that does not fit is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deploy_prune.errors import StorageError, WeightsError
from deploy_prune.sources.weights import load_weights, save_weights
from deploy_prune.values import Network


def tiny(classes=3):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, classes))
    return Network("tiny", module.eval(), ((1, 3, 3),), classes)


def test_saved_weights_come_back_bit_for_bit(tmp_path: Path):
    source, target = tiny(), tiny()
    before = {name: value.clone() for name, value in target.module.state_dict().items()}
    save_weights(source.module, tmp_path / "w.safetensors")
    loaded = load_weights(target, tmp_path / "w.safetensors")
    for name, value in source.module.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], value)
    assert all(torch.equal(value, before[name]) for name, value in target.module.state_dict().items())


def test_tied_weights_can_be_saved(tmp_path: Path):
    layer = nn.Linear(2, 2)
    save_weights(nn.Sequential(layer, layer), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").is_file()


@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}, lambda state: {"model": state}]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_training_scripts_wrappings_are_taken_off(tmp_path: Path, wrap, prefix):
    source = tiny()
    state = {prefix + name: value for name, value in source.module.state_dict().items()}
    torch.save(wrap(state), tmp_path / "w.pth")
    loaded = load_weights(tiny(), tmp_path / "w.pth")
    assert torch.equal(loaded.module.state_dict()["3.weight"], source.module.state_dict()["3.weight"])


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("created-by-a-pickle",)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Attack()}, tmp_path / "torch.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Attack()))
    for name in ("torch.pth", "plain.pth"):
        with pytest.raises(WeightsError, match="its code is not run"):
            load_weights(tiny(), tmp_path / name)
    assert not (tmp_path / "created-by-a-pickle").exists()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"nowhere\.pth does not exist"):
        load_weights(tiny(), tmp_path / "nowhere.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_truncated_file_is_corrupt(tmp_path: Path, name, kept):
    path = tmp_path / name
    if name == "w.pth":
        torch.save(tiny().module.state_dict(), path)
    else:
        save_weights(tiny().module, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="corrupt"):
        load_weights(tiny(), path)


def test_another_number_of_classes_is_told_apart_from_another_network(tmp_path: Path):
    save_weights(tiny(classes=5).module, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"3\.\w+ .* know 5 classes, the network has 3") as caught:
        load_weights(tiny(), tmp_path / "w.safetensors")
    assert "5 classes" in caught.value.hint


def test_shapes_are_both_named(tmp_path: Path):
    state = {**tiny().module.state_dict(), "0.weight": torch.zeros(2, 1, 5, 5)}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"0\.weight has shape \(2, 1, 5, 5\), tiny needs \(2, 1, 3, 3\)"):
        load_weights(tiny(), tmp_path / "w.safetensors")


def test_keys_that_lack_or_are_unknown_are_named(tmp_path: Path):
    state = tiny().module.state_dict()
    state["other"] = state.pop("0.bias")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"lacks 0\.bias and has unknown other"):
        load_weights(tiny(), tmp_path / "w.safetensors")


def test_weights_of_a_diverged_training_are_refused(tmp_path: Path):
    state = {**tiny().module.state_dict(), "3.bias": torch.tensor([0.0, float("nan"), 0.0])}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"3\.bias holds NaN"):
        load_weights(tiny(), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("0.weight", lambda own: own.to(torch.int32), "holds int32, tiny needs float32"),
        ("0.weight", lambda own: own.to(torch.float8_e4m3fn), "holds float8_e4m3fn, tiny needs float32"),
        ("0.weight", lambda own: own.to(torch.complex64), "holds complex64, tiny needs float32"),
        ("0.weight", lambda own: own.double() + 1e300, "holds NaN or infinity"),
        ("1.running_var", lambda own: own * float("nan"), "holds NaN or infinity"),
        ("1.running_var", lambda own: own - 3, "holds a negative variance, -2"),
        ("1.num_batches_tracked", lambda own: own + 0.5, "holds float32 that are no int64"),
        ("0.weight", lambda own: own.to_sparse(), "is a sparse tensor"),
        ("0.weight", lambda own: own.to("meta"), "is a meta tensor"),
    ],
)
def test_a_tensor_that_cannot_stand_there_is_named(tmp_path: Path, name, change, said):
    state = tiny().module.state_dict()
    state[name] = change(state[name])
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"{name} {said}"):
        load_weights(tiny(), tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:torch.quantize:UserWarning", "ignore:TypedStorage:UserWarning")
def test_a_quantised_tensor_is_named(tmp_path: Path):
    state = tiny().module.state_dict()
    state["0.weight"] = torch.quantize_per_tensor(state["0.weight"], 0.1, 0, torch.qint8)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"0\.weight is a quantised tensor"):
        load_weights(tiny(), tmp_path / "w.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path: Path, dtype):
    save_file({name: value.to(dtype) for name, value in tiny().module.state_dict().items()}, tmp_path / "w.safetensors")
    assert load_weights(tiny(), tmp_path / "w.safetensors").module[0].weight.dtype == torch.float32


def test_a_mask_may_hold_the_infinity_that_the_network_has(tmp_path: Path):
    network = tiny()
    network.module.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    save_weights(network.module, tmp_path / "w.safetensors")
    assert load_weights(network, tmp_path / "w.safetensors").module.mask.tolist() == [0.0, float("-inf")]


def test_old_checkpoints_without_batch_counts_load(tmp_path: Path):
    state = {name: value for name, value in tiny().module.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "w.safetensors")
    assert load_weights(tiny(), tmp_path / "w.safetensors").classes == 3


def test_a_file_in_the_way_of_the_output_folder_is_a_storage_error(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError):
        save_weights(tiny().module, tmp_path / "taken" / "w.safetensors")

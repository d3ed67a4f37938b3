"""Shipping builds, loads and reads what an order names, and refuses what does not go together before it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.errors import ConfigError, DataError, UnknownName
from deploy_prune.pipeline.ship import Order, ship
from deploy_prune.records import write_record
from deploy_prune.run_folder import FORM, RUN
from deploy_prune.sources import checkpoint
from deploy_prune.sources.networks import build_network
from deploy_prune.values import AppForm, Normalisation


def test_a_misspelt_target_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'onx'"):
        ship(Order("no such model", ("onx",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_folder_has_its_own_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has its own weights"):
        ship(Order(str(tmp_path), ("onnx",), weights=tmp_path / "w.safetensors"), tmp_path / "out")


@pytest.mark.heavy
def test_data_of_other_classes_are_refused(tmp_path: Path) -> None:
    order = Order("resnet20", ("onnx",), classes=7, data="digits")
    with pytest.raises(DataError, match="7 classes"):
        ship(order, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.heavy
def test_a_network_is_shipped_and_verified_on_real_images(tmp_path: Path) -> None:
    order = Order("resnet20", ("onnx",), classes=10, input_shape=(3, 32, 32), data="digits")
    (shipment,) = ship(order, tmp_path / "out")
    assert shipment.status == "verified"
    assert shipment.parity is not None
    assert shipment.parity.images >= 200
    assert (tmp_path / "out" / "model.onnx").is_file()


def make_run(folder: Path, data: str) -> Path:
    """The folder of a run that was made with these data."""
    checkpoint.save(build_network("resnet20", classes=10, input_shape=(3, 16, 16)), folder)
    write_record(folder / RUN, {"data": data, "data_options": {}, "task": "classification"}, dict)
    write_record(
        folder / FORM, AppForm(normalisation=Normalisation((0.5,) * 3, (0.5,) * 3), labels=tuple("0123456789"))
    )
    return folder


@pytest.mark.heavy
def test_a_run_is_verified_on_its_own_images(tmp_path: Path) -> None:
    (shipment,) = ship(Order(str(make_run(tmp_path / "run", "digits")), ("onnx",)), tmp_path / "out")
    assert shipment.status == "verified"
    assert shipment.parity
    assert (shipment.parity.images, shipment.parity.answers) == (200, "100.0% of 200")


@pytest.mark.heavy
def test_a_run_whose_images_are_gone_is_verified_on_random_inputs_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(tmp_path / "run", f"imagefolder:{tmp_path / 'gone'}")
    (shipment,) = ship(Order(str(run), ("onnx",)), tmp_path / "out")
    assert shipment.status == "verified"
    assert shipment.parity
    assert (shipment.parity.images, shipment.parity.answers) == (0, "100.0% of random inputs")
    assert "random inputs alone" in caplog.text
    assert "gone" in caplog.text

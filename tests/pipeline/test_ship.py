"""Shipping builds, loads and reads what an order names, and refuses what does not go together before it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.errors import ConfigError, DataError, UnknownName
from deploy_prune.pipeline.ship import Order, ship


def test_a_misspelt_target_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'onx'"):
        ship(Order("no such model", ("onx",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_folder_has_its_own_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has its own weights"):
        ship(Order(str(tmp_path), ("onnx",), weights=tmp_path / "w.safetensors"), tmp_path / "out")


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

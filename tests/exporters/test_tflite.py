from __future__ import annotations

import pytest

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.exporters import tflite as exporter_module
from deploy_prune.exporters.tflite import TFLite


def _input_shape(path):
    return plugins.build("runtimes", "litert").open(path, threads=1).inputs[0].shape


def test_images_are_channels_last_by_default(tiny_tflite):
    assert _input_shape(tiny_tflite) == (1, 16, 24, 3)


def test_channels_first_on_request(tiny_network, tmp_path):
    TFLite(layout="nchw").write(tiny_network, tmp_path / "net.tflite")
    assert _input_shape(tmp_path / "net.tflite") == (1, 3, 16, 24)


def test_an_unknown_layout_is_refused():
    with pytest.raises(ConfigError, match="layout 'hwcn'"):
        plugins.build("exporters", "tflite", {"layout": "hwcn"})


def test_exporting_twice_writes_the_same_bytes(tiny_network, tiny_tflite, tmp_path):
    TFLite().write(tiny_network, tmp_path / "again.tflite")
    assert (tmp_path / "again.tflite").read_bytes() == tiny_tflite.read_bytes()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def absent(name):
        raise exporter_module.PackageNotFoundError(name)

    monkeypatch.setattr(exporter_module, "version", absent)
    with pytest.raises(MissingDependency, match=r"litert-torch(.|\n)*deploy-prune\[tflite\]"):
        TFLite().version()

"""A network as bytes: those of the file that an exporter writes, or the reason in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from deploy_prune import plugins
from deploy_prune.errors import ExportFailed
from deploy_prune.exporting.file_bytes import export_bytes
from deploy_prune.values import Network


@pytest.mark.heavy
def test_the_bytes_are_those_of_the_exporters_file(tiny_network: Network, tmp_path: Path) -> None:
    plugins.build("exporters", "onnx").write(tiny_network, tmp_path / "net.onnx")
    assert export_bytes(tiny_network, "onnx") == (tmp_path / "net.onnx").read_bytes()


class Sorted(torch.nn.Module):
    """Computes what no exported graph may hold: Python decides by the numbers."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if float(images.sum()) > 0:
            return images.flatten(1)
        return images.flatten(1) + 1


@pytest.mark.heavy
def test_what_cannot_be_exported_is_refused_in_one_line(tiny_network: Network) -> None:
    with pytest.raises(ExportFailed, match=r"cannot be shipped as onnx: ") as refused:
        export_bytes(dataclasses.replace(tiny_network, module=Sorted()), "onnx")
    assert len(refused.value.message.splitlines()) == 1

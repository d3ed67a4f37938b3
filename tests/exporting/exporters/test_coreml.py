from __future__ import annotations

import gc
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from apple import load_model, load_spec
from building import delivered
from torch import nn

from deploy_prune.analysis.artifacts import describe_artifact, explain_untimed
from deploy_prune.analysis.bench import bench
from deploy_prune.errors import ExportFailed, InputError
from deploy_prune.exporting.exporters.coreml import CoreML
from deploy_prune.values import Network


def _network(module, *shapes):
    torch.manual_seed(0)
    return Network("tests:net", module, shapes, 2)


def test_names_are_plain_and_the_target_is_ios_16(tiny_mlpackage):
    specification = load_spec(tiny_mlpackage)
    description = specification.description
    assert [each.name for each in (*description.input, *description.output)] == ["input", "output"]
    assert specification.specificationVersion == 7  # iOS 16, macOS 13


def test_coremltools_itself_opens_the_package(tiny_mlpackage):
    model = load_model(tiny_mlpackage)
    assert model.get_spec().WhichOneof("Type") == "mlProgram"


@pytest.mark.heavy
def test_exporting_twice_writes_the_same_bytes(tiny_network, tiny_mlpackage, tmp_path):
    CoreML().write(tiny_network, tmp_path / "again.mlpackage")
    files = [file.relative_to(tiny_mlpackage) for file in tiny_mlpackage.rglob("*") if file.is_file()]
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "again.mlpackage" / file).read_bytes() == (tiny_mlpackage / file).read_bytes()


def test_the_package_does_not_tell_where_it_was_made(tiny_mlpackage):
    for file in tiny_mlpackage.rglob("*.*"):
        content = file.read_bytes() if file.is_file() else b""
        assert b"site-packages" not in content and b".py" not in content


@pytest.mark.heavy
def test_an_export_is_verified_and_described_as_a_whole_folder(tiny_network, tmp_path):
    images = np.random.default_rng(0).standard_normal((9, *tiny_network.input_shape)).astype(np.float32)
    for _ in range(2):  # the second replaces the first
        row = delivered(tiny_network, "coreml", tmp_path, images=images)
    assert (row.status, row.parity.images, row.parity.agreement) == ("verified", 9, 1.0)
    folder = tmp_path / "model.mlpackage"
    assert row.artifact.size_bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert [path.name for path in tmp_path.iterdir()] == ["model.mlpackage"]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # coremltools, where it fails
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_in_the_temporary_folder(fails, tmp_path, monkeypatch):
    """coremltools leaves the whole package there where it is told no other place."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    network = _network(nn.Sequential(nn.Conv2d(3, 4, 3), Median() if fails else nn.ReLU()), (3, 6, 6))
    with pytest.raises(ExportFailed) if fails else nullcontext():
        CoreML().write(network, tmp_path / "net.mlpackage")
    gc.collect()
    assert [file for file in (tmp_path / "temporary").rglob("*") if file.is_file()] == []


class Median(nn.Module):
    """What coremltools does not know."""

    def forward(self, x):
        return x.median(2)[0]


@pytest.mark.heavy
def test_half_precision_has_its_own_tolerance(tiny_network, tmp_path):
    row = delivered(tiny_network, "coreml", tmp_path, precision="fp16")
    assert (row.status, row.artifact.precision, row.parity.tolerance) == ("verified", "fp16", 2e-2)
    assert 1e-5 < row.parity.max_error < 1e-2


@pytest.mark.heavy
def test_what_does_not_fit_half_precision_fails(tmp_path):
    """The first layer's results are some 1e6, beyond fp16's 65504."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2))
    with torch.no_grad():
        module[1].weight.mul_(3e6)
    row = delivered(_network(module, (3, 2, 2)), "coreml", tmp_path, precision="fp16")
    assert row.status == "failed" and "not finite" in row.reason


@pytest.mark.heavy
def test_an_operator_that_the_evaluator_lacks_is_exported_but_not_verified(tmp_path):
    class Running(nn.Module):
        def forward(self, x):
            return torch.cumsum(x, 1)

    row = delivered(_network(Running(), (4,)), "coreml", tmp_path)
    assert row.status == "exported" and row.parity is None and "not verifiable here: cumsum" in row.reason


@pytest.mark.heavy
def test_a_slice_that_takes_everything_is_converted(tmp_path):
    """`torch.export` makes an alias of it, which coremltools 9.0 does not know (GhostNet)."""

    class Whole(nn.Module):
        def forward(self, x):
            return torch.relu(x)[:, :4] * 2

    row = delivered(_network(Whole(), (4, 3, 3)), "coreml", tmp_path)
    assert row.status == "verified"


def test_timing_is_refused_clearly(tiny_mlpackage):
    assert explain_untimed(describe_artifact(tiny_mlpackage))
    with pytest.raises(InputError, match="Core ML runs on Apple devices; here its files are only verified"):
        bench([tiny_mlpackage])

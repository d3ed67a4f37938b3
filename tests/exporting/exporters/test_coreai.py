from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from absent import require
from building import conv, delivered, head, net
from tinyconv import two_outputs
from torch import nn

from deploy_prune.analysis.describe import read_report
from deploy_prune.exporting.exporters.coreai import CoreAI
from deploy_prune.exporting.metadata import collect_facts
from deploy_prune.values import AppForm, Network, Normalisation

LABELS = ("cat", "dog", "été", "two words", "last")
BAKED = AppForm(normalisation=Normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)), bake=True, softmax=True, input="uint8")


@pytest.fixture(autouse=True)
def _installed():
    require("coreai")


def _asset(path):
    from coreai.authoring import AIModelAsset

    return AIModelAsset.load(path)


def test_apples_own_package_takes_it_for_a_file_of_the_first_systems_with_core_ai(tiny_aimodel):
    told = _asset(tiny_aimodel).summary(include_statistics=False)
    assert told._compatibility_version == "27.0"
    assert [name for name, _ in (*told.function_inputs("main"), *told.function_outputs("main"))] == ["input", "output"]


@pytest.mark.heavy
def test_another_process_writes_the_same_bytes(tiny_aimodel, tmp_path):
    """coreai-torch names the weights by numbers that are other ones in every process."""
    code = (
        "import sys; from pathlib import Path; from tinyconv import conv_network; from deploy_prune import plugins;"
        "plugins.build('exporters', 'coreai').write(conv_network(13), Path(sys.argv[1]))"
    )
    again = tmp_path / "again.aimodel"
    support = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(again)], check=True, timeout=120, env=support)
    files = sorted(file.name for file in tiny_aimodel.iterdir())
    assert files == ["main.hash", "main.mlirb", "metadata.json"]
    for file in files:
        assert (again / file).read_bytes() == (tiny_aimodel / file).read_bytes()


def test_the_folder_does_not_tell_where_or_when_it_was_made(tiny_aimodel):
    for file in tiny_aimodel.iterdir():
        content = file.read_bytes()
        assert b"site-packages" not in content and b".py" not in content and b"reationDate" not in content


@pytest.mark.heavy
def test_odd_widths_a_depthwise_convolution_and_a_residual_are_verified(tmp_path):
    network = net(
        lambda self, x: self.head(self.last(self.deep(self.wide(y := self.first(x))) + y)),
        first=conv(3, 13), wide=conv(13, 13), deep=nn.Conv2d(13, 13, 3, padding=1, groups=13),
        last=nn.Sequential(conv(13, 29), nn.ReLU6(), conv(29, 57), nn.Hardswish()), head=head(57),
    )  # fmt: skip
    row = delivered(network, "coreai", tmp_path)
    assert row.status == "verified", row.reason
    assert row.parity.max_error < 1e-5


@pytest.mark.heavy
def test_every_output_is_verified_by_its_place(tmp_path):
    row = delivered(two_outputs(13), "coreai", tmp_path)
    assert row.status == "verified", row.reason
    told = _asset(tmp_path / "model.aimodel").summary(include_statistics=False)
    assert [name for name, _ in told.function_outputs("main")] == ["output_0", "output_1"]


@pytest.mark.heavy
def test_what_is_known_is_in_the_metadata_as_apples_own_package_reads_it(tiny_network, tmp_path):
    form = AppForm(normalisation=Normalisation((0.5, 0.25, 0.125), (0.25, 0.5, 0.2)), labels=LABELS, softmax=True)
    CoreAI().write(tiny_network, tmp_path / "net.aimodel", form)
    told = _asset(tmp_path / "net.aimodel").metadata
    known = json.loads(json.dumps(collect_facts(tiny_network, form, "nchw")))
    said = dict(told.creator_defined_metadata)
    assert said.pop("scale") == pytest.approx(known.pop("scale"))
    assert said == known
    assert known["labels"] == list(LABELS)
    assert told.model_description.startswith(f"{tiny_network.address}, written by deploy-prune ")


@pytest.mark.heavy
def test_an_export_is_verified_on_images_and_replaces_the_one_before(tiny_network, tmp_path):
    images = np.random.default_rng(0).standard_normal((9, *tiny_network.input_shape)).astype(np.float32)
    for _ in range(2):
        row = delivered(tiny_network, "coreai", tmp_path, images=images)
    assert (row.status, row.parity.images, row.parity.agreement) == ("verified", 9, 1.0)
    assert row.artifact.needs == {"Core AI": "iOS 27, macOS 27"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.aimodel"]


@pytest.mark.heavy
def test_a_pooled_image_whose_channels_are_last_is_converted(tmp_path):
    """torch sets the strides of its mean by hand."""

    class Last(nn.Module):
        def forward(self, x):
            return nn.functional.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1).flatten(1)

    row = delivered(Network("tests:last", Last(), ((4, 6, 3),), 3), "coreai", tmp_path)
    assert row.status == "verified", row.reason


@pytest.mark.heavy
def test_an_operator_that_the_converter_lacks_is_named(tmp_path):
    class Median(nn.Module):
        def forward(self, x):
            return torch.median(x, 1).values

    row = delivered(Network("tests:median", Median(), ((3, 2, 2),), 3), "coreai", tmp_path)
    assert row.status == "failed"
    assert "the converter does not know aten.median.dim" in row.reason
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["main.hash", "main.mlirb", "metadata.json"])
def test_a_folder_that_lacks_a_part_is_refused(tiny_aimodel, tmp_path, part):
    from deploy_prune.errors import InputError
    from deploy_prune.timing.runtimes.coreai import CoreAI as Runtime

    path = shutil.copytree(tiny_aimodel, tmp_path / "net.aimodel")
    (path / part).unlink()
    with pytest.raises(InputError, match=rf"net\.aimodel is damaged: .*{part}"):
        Runtime().open(path, threads=1)


@pytest.mark.heavy
@pytest.mark.parametrize("form", [AppForm(), BAKED], ids=["plain", "baked"])
def test_half_precision_is_verified_and_goes_in_and_out_as_before(tiny_network, tmp_path, form):
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 24, 3), dtype=np.uint8) if form.bake else None
    row = delivered(tiny_network, "coreai", tmp_path, form=form, images=images, precision="fp16")
    assert row.status == "verified", row.reason
    assert 1e-6 < row.parity.max_error < 5e-3
    (taken,), (given,) = _specs(tmp_path / "model.aimodel")
    assert (taken.dtype, given.dtype) == ("uint8" if form.bake else "float32", "float32")


def _specs(path):
    report = read_report(path)
    return report.inputs, report.outputs

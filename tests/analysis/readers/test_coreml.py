from __future__ import annotations

import shutil

import pytest
from apple import load_spec

from deploy_prune.analysis.readers.coreml import CoreML
from deploy_prune.exporting.exporters.coreml import SPECIFICATION
from deploy_prune.exporting.exporters.coreml import CoreML as Exporter


@pytest.mark.heavy
def test_an_fp16_package_holds_its_weights_as_float16(tiny_network, tmp_path):
    path = tmp_path / "half.mlpackage"
    Exporter().write(tiny_network, path, precision="fp16")
    sizes = CoreML().read(path).weights_bytes
    assert next(iter(sizes)) == "float16" and sizes["float16"] > 0.9 * sum(sizes.values())


@pytest.mark.heavy
def test_metadata_and_the_systems_of_another_specification_are_told(tiny_mlpackage, tmp_path):
    path = shutil.copytree(tiny_mlpackage, tmp_path / "tiny.mlpackage")
    place = path / "Data" / SPECIFICATION
    specification = load_spec(place)
    specification.specificationVersion = 8
    specification.description.metadata.author = "someone"
    specification.description.metadata.userDefined["mean"] = "0.5, 0.5, 0.5"
    place.write_bytes(specification.SerializeToString())
    report = CoreML().read(path)
    assert (report.version, report.needs) == ("specification 8", {"Core ML": "iOS 17, macOS 14"})
    assert (report.metadata["author"], report.metadata["mean"]) == ("someone", "0.5, 0.5, 0.5")


def test_constants_are_no_operators(tiny_mlpackage):
    report = CoreML().read(tiny_mlpackage)
    assert "const" not in {row.name for row in report.operators}
    assert report.xnnpack.startswith("does not apply")

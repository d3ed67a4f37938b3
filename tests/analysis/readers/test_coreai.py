from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from bytecode import file

from deploy_prune.analysis.describe import read_report
from deploy_prune.analysis.readers.coreai import CoreAI
from deploy_prune.errors import InputError
from deploy_prune.exporting.identity import identify
from deploy_prune.values import Network


def changed(tiny_aimodel: Path, folder: Path, **said: object) -> Path:
    """A copy of the file that says something else of itself."""
    path = shutil.copytree(tiny_aimodel, folder / "tiny.aimodel")
    told = json.loads((path / "metadata.json").read_text()) | said
    (path / "metadata.json").write_text(json.dumps(told))
    return path


def test_the_systems_are_those_of_our_own_table_and_all_operators_are_apples(tiny_aimodel: Path) -> None:
    report = CoreAI().read(tiny_aimodel)
    assert report.needs == {"Core AI": "iOS 27, macOS 27"}
    assert report.version == "asset 2.0, program 2"
    assert {row.kernels for row in report.operators} == {"Core AI"}
    assert not {"constant", "dataflow.output"} & {row.name for row in report.operators}


def test_labels_and_whatever_else_was_added_are_told_as_short_lines(tiny_aimodel: Path, tmp_path: Path) -> None:
    own = {"labels": ["cat", "été"], "scale": 0.5, "nested": {"a": [1, 2]}, "long": "x" * 200}
    told = CoreAI().read(changed(tiny_aimodel, tmp_path, author="somebody", creatorDefinedMetadata=own)).metadata
    assert (told["author"], told["labels"], told["scale"]) == ("somebody", '["cat", "été"]', "0.5")
    assert told["nested"] == '{"a": [1, 2]}'
    assert len(told["long"]) == 80


def test_the_network_and_the_precision_are_told_by_the_file_itself(tiny_network: Network, tiny_aimodel: Path) -> None:
    origin = CoreAI().read_origin(tiny_aimodel)
    assert origin.network_digest == identify(tiny_network).digest
    assert next(iter(origin.weights_bytes)) == "float32"


def test_a_file_of_somebody_else_names_no_network(tiny_aimodel: Path, tmp_path: Path) -> None:
    path = changed(tiny_aimodel, tmp_path, creatorDefinedMetadata="none")
    assert CoreAI().read_origin(path).network_digest == ""


def test_a_program_that_is_none_of_core_ai_is_refused_though_its_checksum_fits(
    tiny_aimodel: Path, tmp_path: Path
) -> None:
    path = changed(tiny_aimodel, tmp_path)
    (path / "main.mlirb").write_bytes(file())
    (path / "main.hash").write_bytes(hashlib.sha256(file()).digest())
    with pytest.raises(InputError, match=r"tiny\.aimodel is no readable \.aimodel file: it holds no graph"):
        read_report(path)

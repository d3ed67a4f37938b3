from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from building import interrupted_delegation

from deploy_prune.analysis.readers.executorch import ExecuTorch
from deploy_prune.exporting.exporters.executorch import ExecuTorch as Exporter
from deploy_prune.formats.xnnpack_graph import DTYPES, OPERATORS


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("interrupted") / "net.pte"
    Exporter().write(interrupted_delegation(), path)
    return path


@pytest.mark.heavy
def test_what_xnnpack_leaves_is_named(interrupted):
    report = ExecuTorch().read(interrupted)
    total = sum(row.count for row in report.operators)
    assert report.xnnpack == f"leaves 1 of {total} operators: aten::cumsum.out x 1"
    assert {row.name: row.count for row in report.operators}["Conv2d"] == 2


def test_operators_and_types_are_numbered_as_in_the_exporters_own_schema():
    place = find_spec("executorch").submodule_search_locations[0]  # importing it takes seconds
    schema = (Path(place) / "backends" / "xnnpack" / "serialization" / "schema.fbs").read_text()
    union = re.search(r"union XNodeUnion \{(.*?)\}", schema, re.DOTALL)[1]
    assert list(OPERATORS) == re.findall(r"^\s*XNN(\w+)", union, re.MULTILINE)
    numbers = {int(number): name for name, number in re.findall(r"xnn_datatype_(\w+) = (\d+)", schema)}
    assert {numbers[number] for number in DTYPES} == set(numbers.values()) - {"invalid", "qdint8", "qpint8"}
    plain = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "qint8": "int8", "quint8": "uint8"}
    assert all(DTYPES[number] == plain[name] for number, name in numbers.items() if name in plain)


@pytest.mark.heavy
def test_constant_methods_are_metadata(tmp_path):
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 3),))
    told = {"labels": "cat,dog", "classes": 2, "scale": 0.25, "signed": True}
    program = to_edge_transform_and_lower(exported, constant_methods=told).to_executorch()
    path = tmp_path / "net.pte"
    path.write_bytes(program.buffer)
    report = ExecuTorch().read(path)
    assert {key: report.metadata[key] for key in told} == {
        "labels": "cat,dog", "classes": "2", "scale": "0.25", "signed": "True",
    }  # fmt: skip
    assert report.xnnpack == "leaves 1 of 1 operators: aten::relu.out x 1"

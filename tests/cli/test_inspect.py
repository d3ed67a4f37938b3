"""An inspection is three tables: the network, what is within reach, and the groups with what locks them."""

from __future__ import annotations

import json

import pytest

from deploy_prune import __main__
from deploy_prune.cli.inspect import show_inspection
from deploy_prune.pipeline.inspection import Inspection, Reach
from deploy_prune.values import Count, GroupRow

Captured = pytest.CaptureFixture[str]

INSPECTION = Inspection(
    address="net",
    count=Count(300_774_272, 310_000_000, 3_504_872, ("aten::add",)),
    groups=(GroupRow("conv1", 32, 32, 2, None), GroupRow("fc", 10, 10, 1, "model output")),
    reach=(Reach("macs", "MACs", 300_774_272, 9_023_228),),
    locked_share=0.04,
    macs=300_774_282,
    difference="fvcore counts 10 less: it leaves out fused attention",
    rescalings=("aten.mul.Tensor at nets/mine.py:7",),
)


def test_the_tables_say_what_is_to_be_known(capsys: Captured) -> None:
    show_inspection(INSPECTION)
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [
        ["MACs (a multiply-add is 1)", "300,774,282, fvcore counts 10 less: it leaves out fused attention"],
        ["fvcore total with norms", "310,000,000"],
        ["parameters", "3,504,872"],
        ["operators that fvcore did not count", "aten::add"],
        ["channels that cannot be removed", "4.0%"],
        ["rescaled by a number that follows the widths", "aten.mul.Tensor at nets/mine.py:7"],
        ["macs", "MACs", "300,774,272", "9,023,228", "0.030x"],
        ["conv1", "64", "32", "-"],
        ["fc", "10", "10", "model output"],
    ]


def test_json_is_complete(capsys: Captured) -> None:
    line = ["inspect", "mobilenet_v2", "--option", "setting=small", "--option", "stem=cifar", "--classes", "10"]
    assert __main__.run([*line, "--input-shape", "3,32,32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["inspection"]
    assert set(found) == {"address", "count", "groups", "reach", "locked_share", "macs", "difference", "rescalings"}
    assert {row["cost"] for row in found["reach"]} == {"channels", "macs", "params", "size"}
    assert all(row["least"] < row["dense"] for row in found["reach"])
    (macs,) = (row["dense"] for row in found["reach"] if row["cost"] == "macs")
    assert macs == found["count"]["macs"]

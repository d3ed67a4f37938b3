"""What CI systems read of a gate: well-formed whatever files are called."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree

import pytest

from deploy_prune.analysis.gating.gate import GateResult
from deploy_prune.analysis.gating.limits import Check, Limits, Verdict
from deploy_prune.analysis.gating.outputs import write_annotation, write_figures, write_junit, write_markdown

HOSTILE = 'a|b`<script>&"\x1b[31m\n::error::c.tflite'
CHECK = Check("time / baseline", 1.05, 1.1, (1.09, 1.11), "above")


def result(verdict: Verdict, candidate: str = "new.tflite") -> GateResult:
    return GateResult(verdict, "why, 5 %", "old.tflite", candidate, "a phone", "litert", 1, Limits(), (CHECK,))


@pytest.mark.parametrize(
    ("verdict", "child"),
    [("passed", None), ("failed", "failure"), ("inconclusive", "skipped"), ("not comparable", "failure")],
)
@pytest.mark.parametrize("candidate", ["new.tflite", HOSTILE])
def test_junit_has_a_case_with_the_verdict(verdict: Verdict, child: str | None, candidate: str) -> None:
    suite = ElementTree.fromstring(write_junit(result(verdict, candidate)).encode())
    (case,) = suite.findall("testcase")
    assert [each.tag for each in case if each.tag != "system-out"] == ([child] if child else [])
    assert (suite.get("failures"), suite.get("skipped")) == (str(int(child == "failure")), str(int(child == "skipped")))


def test_a_summary_has_the_limits_in_a_table_that_no_name_breaks() -> None:
    text = write_markdown(result("failed", HOSTILE))
    assert "| time / baseline | 1.1  | 1.09 to 1.11 | 1.05 | **above** |" in text
    assert "<script>" not in text and "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("::")] == []


def test_an_annotation_is_one_line_and_a_pass_has_none() -> None:
    assert write_annotation(result("failed")) == "::error title=Latency gate::failed: why, 5 %25\n"
    assert write_annotation(result("inconclusive")).startswith("::warning ")
    assert write_annotation(result("passed")) == ""
    several = dataclasses.replace(result("failed"), why="one\ntwo")
    assert write_annotation(several).count("\n") == 1


def test_figures_are_what_github_action_benchmark_reads() -> None:
    (row,) = json.loads(write_figures(result("passed")))
    assert row == {"name": "new.tflite: time / baseline", "value": 1.1, "unit": "ratio", "range": "1.09 to 1.11"}

"""A gate's result in the forms that CI systems read: JUnit, a summary in Markdown, annotations, figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from deploy_prune.analysis.gating.gate import GateResult, name_check
from deploy_prune.analysis.gating.limits import Check
from deploy_prune.legible import spell_controls
from deploy_prune.stats import write_briefly

MARKS = {"within": "within", "above": "**above**", "open": "not told apart"}
FAILING = ("failed", "not comparable")
"""Verdicts that are a failure to whoever reads JUnit."""
LEVELS = {"failed": "error", "inconclusive": "warning", "not comparable": "error"}
"""Verdict -> the level of GitHub's annotation; none for one that passed."""


def write_junit(result: GateResult) -> str:
    """JUnit XML: one case per candidate and device; an inconclusive one counts as skipped, with the reason."""
    failed, skipped = (int(each) for each in (result.verdict in FAILING, result.verdict == "inconclusive"))
    suite = Element("testsuite", name="deploy-prune gate", tests="1", failures=str(failed), skipped=str(skipped),
                    errors="0", time=f"{sum(each.seconds for each in result.sessions):.3f}")  # fmt: skip
    case = SubElement(suite, "testcase", classname=_plain(result.device), name=_plain(_name_file(result.candidate)))
    if failed:
        SubElement(case, "failure", message=_plain(result.why), type=result.verdict).text = _plain(write_text(result))
    if skipped:
        SubElement(case, "skipped", message=_plain(result.why))
    SubElement(case, "system-out").text = _plain(write_text(result))
    return tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def write_markdown(result: GateResult) -> str:
    """A summary for a page of CI: the verdict and a table of limits."""
    lines = [f"### Latency gate: {result.verdict}", "", f"{_in_cell(result.why)}.", ""]
    if result.checks:
        lines += ["| limit | candidate | 95 % | allowed | |", "| --- | --- | --- | --- | --- |"]
    for check in result.checks:
        lines.append(f"| {check.name} | {write_briefly(check.value)} {check.unit} | {_write_range(check)} | "
                     f"{write_briefly(check.limit)} | {MARKS[check.side]} |")  # fmt: skip
    files = f"`{_in_cell(result.candidate)}` against `{_in_cell(result.baseline)}`"
    where = f"{result.runtime}, {result.threads} thread{'s' * (result.threads != 1)}, {_in_cell(result.device)}"
    return "\n".join([*lines, "", f"{files} on {where}; sessions: {len(result.sessions)}.", ""])


def write_annotation(result: GateResult) -> str:
    """A line by which GitHub shows the verdict at the change; empty: it passed."""
    level = LEVELS.get(result.verdict)
    return f"::{level} title=Latency gate::{_escape(f'{result.verdict}: {result.why}')}\n" if level else ""


def write_figures(result: GateResult) -> str:
    """The figures as `customSmallerIsBetter` of github-action-benchmark."""
    name = _name_file(result.candidate)
    return json.dumps([
        {"name": f"{name}: {check.name}", "value": check.value, "unit": check.unit or "ratio",
         "range": _write_range(check)}
        for check in result.checks
    ], indent=1) + "\n"  # fmt: skip


def _write_range(check: Check) -> str:
    return " to ".join(map(write_briefly, check.interval))


def write_text(result: GateResult) -> str:
    """The verdict, its reason and every limit, line by line."""
    lines = [f"{result.verdict}: {result.why}", *(f"{check.side}: {name_check(check)}" for check in result.checks)]
    return "\n".join(lines)


FORMS: Mapping[str, Callable[[GateResult], str]] = {
    "junit": write_junit,
    "markdown": write_markdown,
    "annotation": write_annotation,
    "figures": write_figures,
}
"""Forms beside text and JSON."""


def _name_file(path: str) -> str:
    return Path(path).name


def _plain(text: str) -> str:
    """Text that XML may hold: a file's name has no control characters in it."""
    return spell_controls(text)


def _in_cell(text: str) -> str:
    """Text that ends no cell of a table, and marks nothing up."""
    return spell_controls(text).replace("\n", " ").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _escape(text: str) -> str:
    """Text within a command of GitHub's log (its toolkit's `escapeData`)."""
    return spell_controls(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

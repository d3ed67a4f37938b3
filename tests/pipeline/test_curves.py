"""What groups lose and save at their widths: traced where a plan is decided, kept in its record, told and drawn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from finished import GROUPS, PLAN, RUN, page
from studies import stack

from deploy_prune import plugins
from deploy_prune.analysis.report_curves import draw_curves, list_rows, read_planning
from deploy_prune.budget.widths import Limits
from deploy_prune.cli.explain import show_verdict
from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.pipeline.curves import POINTS, trace_curves
from deploy_prune.pipeline.priced import price
from deploy_prune.records import read_record, write_record
from deploy_prune.results import PlanResult
from deploy_prune.values import Budget, GroupCurve, Scores

CURVES = (
    GroupCurve("stem", (1, 2, 3, 4), (0.5, 0.02, 0.005, 0.0), (6.0, 7.0, 8.0, 9.5), "ms"),
    GroupCurve("body", (2, 4, 6), (0.04, 0.0, 0.0), (5.0, 9.0, 11.0), "ms"),
)
"""The curves of `finished.GROUPS`, which keep 2 of 4 units and 3 of 6."""
PLANNED = dataclasses.replace(RUN.plan, curves=CURVES)


def test_a_row_has_the_widths_of_errors_and_what_the_plan_loses_and_saves_there() -> None:
    """`body` keeps a width between two that are recorded, and has eight channels per unit."""
    assert list_rows(PLANNED) == [
        ("stem", "4", "3", "2", "2", "2", "0.0200", "2.500"),
        ("body", "48", "32", "32", "16", "24", "0.0200", "4.000"),
    ]


def test_the_report_has_a_section_where_scores_add_up_and_only_there(tmp_path: Path) -> None:
    said = page(dataclasses.replace(RUN, plan=PLANNED), tmp_path)
    assert "## Curves\n\n| group | channels | error 0.01 at |" in said
    assert "| stem | 4 | 3 | 2 | 2 | 2 | 0.0200 | 2.500 |" in said
    assert "here to 0.0400." in said
    assert "## Curves" not in page(RUN, tmp_path)


def test_explain_shows_the_same_in_the_terminal_and_in_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    show_verdict((), PLANNED)
    assert "What each group loses" in (said := capsys.readouterr().out) and "ms saved" in said
    show_verdict((), PLANNED, as_json=True)
    assert '"errors": [0.5, 0.02, 0.005, 0.0]' in capsys.readouterr().out


def test_a_plan_of_before_has_no_curves_and_none_can_be_drawn(tmp_path: Path) -> None:
    write_record(tmp_path / "planning.json", RUN.plan)
    document = json.loads((tmp_path / "planning.json").read_text())
    del document["value"]["curves"]
    (tmp_path / "planning.json").write_text(json.dumps(document))
    planned = read_planning(tmp_path)
    assert planned == RUN.plan
    assert planned is not None
    assert read_planning(tmp_path / "elsewhere") is None
    with pytest.raises(ConfigError, match="by 'magnitude', has no curves"):
        draw_curves(planned, tmp_path / "curves.html")


@pytest.mark.heavy
def test_curves_are_drawn_a_line_per_group(tmp_path: Path) -> None:
    draw_curves(PLANNED, tmp_path / "curves.html")
    text = (tmp_path / "curves.html").read_text()
    assert all(f"{row.name} (kept: {row.kept} of {row.width})" in text for row in GROUPS[:2])


def test_errors_are_sums_of_what_goes_and_costs_those_of_the_plan_with_one_group_changed(tmp_path: Path) -> None:
    graph = trace(stack())
    first, second, third = (group.name for group in graph.free)
    drawn = np.random.default_rng(0)
    scores = Scores({group.name: drawn.random(group.width) for group in graph.free}, additive=True)
    keep = {first: (0, 3, 5, 7), second: tuple(range(16)), third: tuple(range(10))}
    macs = price(Budget("macs", 0.5, True, "0.5x"), plugins.build("costs", "macs"), graph)
    one, two, three = trace_curves(graph, scores, keep, macs, Limits(multiple=4))
    assert (one.widths, two.widths, three.widths) == ((4, 8, 12), (4, 8, 12, 16), (4, 8, 10, 12, 16, 20))
    assert one.errors == pytest.approx([sum(sorted(scores.by_group[first])[:gone]) for gone in (8, 4, 0)])
    assert one.costs[1] == macs.of({**keep, first: tuple(range(8))})
    assert one.costs[0] == three.costs[2] == macs.of(keep)
    assert one.unit == "MACs"
    planned = PlanResult(PLAN, "obs", (), 1.0, curves=(one, two, three))
    write_record(tmp_path / "planning.json", planned)
    assert read_record(tmp_path / "planning.json", PlanResult) == planned


def test_of_a_wide_group_some_widths_are_recorded_and_those_of_named_errors_exactly() -> None:
    """A unit costs 0.001 each: 0.01 is reached with 10 units gone, 0.03 with 30, 0.1 with 100."""
    graph = trace(stack())
    wide = dataclasses.replace(graph.free[0], width=1000)
    losses = np.full(1000, 0.00099999)
    macs = price(Budget("macs", 0.5, True, "0.5x"), plugins.build("costs", "macs"), graph)
    (curve, *_) = trace_curves(
        dataclasses.replace(graph, groups=(wide, *graph.groups[1:])),
        Scores({wide.name: losses, **{group.name: np.ones(group.width) for group in graph.free[1:]}}, additive=True),
        {wide.name: tuple(range(500))}, macs, Limits(),
    )  # fmt: skip
    assert len(curve.widths) <= POINTS + 4
    assert {990, 970, 900, 500, 1000} <= set(curve.widths)

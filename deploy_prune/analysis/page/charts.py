"""The figures of a page, as plotly.js takes them; texts are escaped here, as plotly reads a little HTML in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from deploy_prune.analysis.explanation import Explanation
from deploy_prune.analysis.page.sections import Chart
from deploy_prune.analysis.report_front import KINDS
from deploy_prune.results import PlanResult, RefitResult
from deploy_prune.search_results import Front, FrontPoint
from deploy_prune.stats import write_percent_with_interval
from deploy_prune.values import GroupRow, Interval, Measurement, Quality

ROW_PX = 15
"""Height of one bar of a chart that lies on its side."""
MARGIN_PX = 110
LEAST_ERROR = 1e-7
"""What a logarithmic axis shows of an error of 0."""


def draw_front(front: Front, hints: Mapping[str, str]) -> Chart:
    """Quality on test against measured time, with both intervals.

    Args:
        front: of which some points were timed; the others are left out.
        hints: folder of a run -> what is said of its plan where the pointer rests on its point.
    """
    timed = [point for point in front.points if point.ratio is not None and point.interval is not None]
    traces = []
    for kind in dict.fromkeys(point.kind for point in timed):
        points = sorted((each for each in timed if each.kind == kind), key=lambda each: each.ratio or 0.0)
        traces.append(
            _scatter(
                KINDS[kind],
                [_time(each) for each in points],
                [each.test for each in points],
                x_spread=[_time_interval(each) for each in points],
                y_spread=[each.test_interval for each in points],
                hints=[f"{each.budget or each.kind}<br>{escape(hints.get(each.run, ''))}" for each in points],
            )
        )
    has_times = all(each.latency_ms is not None for each in timed)
    return Chart("front", f"{front.quality} on test against measured time, with 95 % intervals", tuple(traces),
                 _axes(front.unit if has_times else "time / dense", front.quality))  # fmt: skip


def _time(point: FrontPoint) -> float:
    return point.ratio or 0.0 if point.latency_ms is None else point.latency_ms


def _time_interval(point: FrontPoint) -> Interval:
    return point.interval or (0.0, 0.0) if point.latency_interval_ms is None else point.latency_interval_ms


def draw_tradeoff(dense: Quality, pruned: Quality, timed: Sequence[Measurement]) -> Chart:
    """One run: quality on test against time / time of the dense file of that format and number of threads."""
    traces = [
        _scatter("dense", [1.0], [dense.value], x_spread=[(1.0, 1.0)], y_spread=[dense.interval]),
        *(
            _scatter(name_timing(item), [item.ratio], [pruned.value], x_spread=[item.ratio_interval],
                     y_spread=[pruned.interval],
                     hints=[f"{item.median:.3f} {item.unit}"])
            for item in timed
            if item.ratio is not None and item.ratio_interval is not None
        ),
    ]  # fmt: skip
    return Chart("tradeoff", f"{dense.name} on test against measured time / dense, with 95 % intervals", tuple(traces),
                 _axes("time / dense", dense.name))  # fmt: skip


def name_timing(item: Measurement) -> str:
    """`litert, 1 thread`."""
    return f"{item.target.runtime}, {item.target.threads} thread{'s' * (item.target.threads != 1)}"


def draw_widths(groups: Sequence[GroupRow]) -> Chart:
    """Channels of every group before and after, locked ones included."""
    names = [escape(row.name) for row in groups]
    traces = (
        _lying_bars("before", names, [row.width * row.channels_per_unit for row in groups]),
        _lying_bars("kept", names, [row.kept * row.channels_per_unit for row in groups]),
    )
    layout = _axes("channels", "") | _lying() | {"barmode": "overlay"}
    return Chart("widths", "Channels of each group, before and kept", traces, layout, _height_of(len(groups)))


def draw_curves(plan: PlanResult) -> Chart:
    """What each group loses at its widths; a ring marks the width that is kept."""
    rows = {row.name: row for row in plan.groups}
    traces = []
    for curve in plan.curves:
        row = rows[curve.name]
        share = [width / row.width for width in curve.widths]
        kept = [width == row.kept for width in curve.widths]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": escape(curve.name), "x": share,
            "y": [max(error, LEAST_ERROR) for error in curve.errors],
            "marker": {"size": [11 if each else 3 for each in kept]},
            "text": [f"{width} of {row.width} units{', kept' * here}" for width, here in zip(curve.widths, kept,
                                                                                           strict=True)],
        })  # fmt: skip
    layout = _axes("share of the group's units", "error") | {"showlegend": False}
    layout["yaxis"] |= {"type": "log"}
    return Chart("curves", "What each group loses at its widths; a large mark is the width that is kept", tuple(traces),
                 layout)  # fmt: skip


def draw_stairs(plan: PlanResult) -> Chart:
    """What the network costs over the width of one group, the others as planned: a staircase on real kernels."""
    traces = []
    for curve in plan.curves:
        row = next(each for each in plan.groups if each.name == curve.name)
        channels = [width * row.channels_per_unit for width in curve.widths]
        saved = [cost - curve.costs[-1] for cost in curve.costs]
        kept = [width == row.kept for width in curve.widths]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": escape(curve.name), "x": channels, "y": saved,
            "line": {"shape": "hv"}, "marker": {"size": [11 if each else 3 for each in kept]},
        })  # fmt: skip
    unit = plan.curves[0].unit
    layout = _axes("channels of the group", f"{unit}, against the whole group") | {"showlegend": False}
    title = f"What the network takes over the width of one group ({unit}); a large mark is the width that is kept"
    return Chart("stairs", title, tuple(traces), layout)


def draw_layers(name: str, explained: Explanation) -> Chart:
    """Where the time of two files went; layers off their kernel's stair are hatched."""
    shown = [pair for pair in explained.layers if (pair.before or pair.after)]
    names = [escape(str(number) + " " + (pair.after or pair.before).name) for number, pair in enumerate(shown)]  # type: ignore[union-attr]
    edges = {each.layer: f"{each.channels} channels, the stair's edge is {each.edge}" for each in explained.off_stair}
    off = [edges.get(pair.after.name, "") if pair.after else "" for pair in shown]
    after = _lying_bars("pruned", names, [pair.after.ms if pair.after else 0.0 for pair in shown])
    after |= {
        "marker": {"pattern": {"shape": ["/" if each else "" for each in off]}},
        "text": [escape(each) for each in off],
        "textposition": "none",
    }
    before = _lying_bars("dense", names, [pair.before.ms if pair.before else 0.0 for pair in shown])
    layout = _axes(explained.unit, "") | _lying() | {"barmode": "group"}
    return Chart(f"layers-{name}", f"{name}: {explained.unit} of each layer; a hatched one is off its kernel's stair",
                 (before, after), layout, _height_of(2 * len(shown)))  # fmt: skip


def draw_refit(refit: RefitResult) -> Chart:
    """The error of each layer before and after its new weights, on held-out images."""
    solved = [layer for layer in refit.layers if layer.error_before is not None and layer.error_after is not None]
    names = [escape(layer.name) for layer in solved]
    traces = tuple(
        {"type": "scatter", "mode": "markers", "name": name, "x": names,
         "y": [max(error or 0.0, LEAST_ERROR) for error in errors]}
        for name, errors in (("before", [layer.error_before for layer in solved]),
                             ("after", [layer.error_after for layer in solved]))
    )  # fmt: skip
    layout = _axes("", "error")
    layout["yaxis"] |= {"type": "log"}
    layout["xaxis"] |= {"showticklabels": False}
    return Chart(
        "refit", "Error of each layer's outputs on held-out images, before and after the refit", traces, layout
    )


# --- parts of figures --------------------------------------------------------------------------------------------


def _scatter(
    name: str,
    x: Sequence[float | None],
    y: Sequence[float],
    *,
    x_spread: Sequence[Interval | None],
    y_spread: Sequence[Interval],
    hints: Sequence[str] = (),
) -> dict[str, Any]:
    said = hints or [""] * len(x)
    text = [
        f"{_format_spread(across, interval)}: {write_percent_with_interval(value, around)}"
        + (f"<br>{hint}" if hint else "")
        for across, interval, value, around, hint in zip(x, x_spread, y, y_spread, said, strict=True)
    ]
    return {
        "type": "scatter", "mode": "markers" if len(x) == 1 else "lines+markers", "name": escape(name),
        "x": list(x), "y": list(y), "text": text, "hovertemplate": "%{text}",
        "error_x": _make_whiskers(x, x_spread), "error_y": _make_whiskers(y, y_spread), "marker": {"size": 9},
    }  # fmt: skip


def _format_spread(value: float | None, interval: Interval | None) -> str:
    low, high = interval or (0.0, 0.0)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _make_whiskers(values: Sequence[float | None], spread: Sequence[Interval | None]) -> dict[str, Any]:
    known = [(value or 0.0, interval or (0.0, 0.0)) for value, interval in zip(values, spread, strict=True)]
    return {"type": "data", "symmetric": False, "thickness": 1,
            "array": [max(high - value, 0.0) for value, (_, high) in known],
            "arrayminus": [max(value - low, 0.0) for value, (low, _) in known]}  # fmt: skip


def _lying_bars(name: str, names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    return {"type": "bar", "orientation": "h", "name": name, "y": list(names), "x": list(values)}


def _axes(x: str, y: str) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": escape(x)}}, "yaxis": {"title": {"text": escape(y)}}}


def _lying() -> dict[str, Any]:
    return {"yaxis": {"autorange": "reversed", "automargin": True, "tickfont": {"size": 10}}}


def _height_of(bars: int) -> int:
    return MARGIN_PX + ROW_PX * max(bars, 4)

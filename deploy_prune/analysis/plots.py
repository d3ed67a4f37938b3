"""Draws lines of figures: in the terminal, as PNG (matplotlib), as an HTML page of its own (plotly)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.records import write_atomic
from deploy_prune.values import Interval

BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS = 12
"""Lines of a drawing in the terminal."""


@dataclass(frozen=True)
class Line:
    """One series."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    steps: bool = False
    """Drawn as a staircase."""
    x_spread: tuple[Interval, ...] = ()
    """Interval of every x; empty: none are drawn."""
    y_spread: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Plot:
    """Series over one axis."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    from_zero: bool = True
    """Whether the vertical axis begins there."""


def save(plot: Plot, path: Path) -> None:
    """Write a .png or .html file.

    Raises:
        ConfigError: another suffix.
        MissingDependency: what draws it is not installed.
        StorageError: the file system refuses.
    """
    check_suffix(path)
    write = WRITERS[path.suffix]
    write_atomic(path, lambda temporary: write(plot, temporary))


def check_suffix(path: Path) -> None:
    """Refuse what nothing here draws, before it is worked out. Raises ConfigError."""
    if path.suffix not in WRITERS:
        raise ConfigError(f"{path} is neither .png nor .html", hint="choose one of these endings")


def _write_png(plot: Plot, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingDependency("matplotlib", "plots") from error
    figure: Any = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for line in plot.lines:
        style = {"drawstyle": "steps-mid"} if line.steps else {"marker": ".", "linewidth": 0.8}
        axes.errorbar(
            line.x, line.y, label=line.name, capsize=2, elinewidth=0.6, **style,
            xerr=_measure_arms(line.x, line.x_spread), yerr=_measure_arms(line.y, line.y_spread),
        )  # fmt: skip
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.from_zero:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(str(path))


def _write_html(plot: Plot, path: Path) -> None:
    try:
        import plotly.graph_objects as go
    except ModuleNotFoundError as error:
        raise MissingDependency("plotly", "plots") from error
    figure = go.Figure()
    for line in plot.lines:
        shape = {"shape": "hvh"} if line.steps else {}
        figure.add_scatter(
            x=line.x, y=line.y, name=line.name, mode="lines+markers", line=shape,
            error_x=_make_whiskers(line.x, line.x_spread), error_y=_make_whiskers(line.y, line.y_spread),
        )  # fmt: skip
    figure.update_layout(title=plot.title, xaxis_title=plot.x_label, yaxis_title=plot.y_label)
    if plot.from_zero:
        figure.update_yaxes(rangemode="tozero")
    path.write_text(figure.to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")


def _measure_arms(values: Sequence[float], spread: Sequence[Interval]) -> list[list[float]] | None:
    """Lengths of the error bars, [below, above] per point; None where there are no intervals."""
    if not spread:
        return None
    low = [max(value - start, 0.0) for value, (start, _) in zip(values, spread, strict=True)]
    return [low, [max(end - value, 0.0) for value, (_, end) in zip(values, spread, strict=True)]]


def _make_whiskers(values: Sequence[float], spread: Sequence[Interval]) -> dict[str, Any] | None:
    arms = _measure_arms(values, spread)
    return {"type": "data", "arrayminus": arms[0], "array": arms[1], "thickness": 0.8} if arms else None


WRITERS: Mapping[str, Callable[[Plot, Path], None]] = {".png": _write_png, ".html": _write_html}


def draw_in_terminal(plot: Plot) -> str:
    """The first line as columns of blocks, with the range of both axes."""
    line = plot.lines[0]
    top = max(line.y, default=0.0) or 1.0
    levels = [round(value / top * ROWS * (len(BLOCKS) - 1)) for value in line.y]
    rows = ["".join(_draw_level(level - row * (len(BLOCKS) - 1)) for level in levels) for row in reversed(range(ROWS))]
    left = [f"{top:.3g} {plot.y_label}", *[""] * (ROWS - 2), "0"]
    margin = max(map(len, left))
    body = [f"{label:>{margin}} |{row}" for label, row in zip(left, rows, strict=True)]
    ends = f"{line.x[0]:g}{f'{line.x[-1]:g}':>{max(len(line.x) - len(f'{line.x[0]:g}'), 1)}}" if line.x else ""
    return "\n".join([plot.title, *body, f"{'':>{margin}}  {ends} {plot.x_label}"])


def _draw_level(level: int) -> str:
    return BLOCKS[min(max(level, 0), len(BLOCKS) - 1)]


def make_line(name: str, points: Sequence[tuple[float, float | None]], *, steps: bool = False) -> Line:
    """A line of the points that have a value."""
    known = [(x, y) for x, y in points if y is not None]
    return Line(name, tuple(x for x, _ in known), tuple(y for _, y in known), steps)

"""Writes a page: the template filled in, with the styles, the script and plotly.js inside it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from deploy_prune.analysis.page.of_front import describe_front
from deploy_prune.analysis.page.of_run import describe_run
from deploy_prune.analysis.page.sections import Chart, Page
from deploy_prune.analysis.report_front import is_front
from deploy_prune.errors import MissingDependency
from deploy_prune.legible import spell_controls
from deploy_prune.records import write_atomic

PAGE = "report.html"
ASSETS = "deploy_prune.analysis.page.assets"


def write_page(folder: Path, file: Path | None = None) -> Path:
    """Write the page of a run or of a front, by default into its folder.

    Returns:
        The file.

    Raises:
        RecordError: the folder is neither, or its records are damaged or not there yet.
        MissingDependency: what draws it is not installed.
        StorageError: the file system refused.
    """
    describe: Callable[[Path], Page] = describe_front if is_front(folder) else describe_run
    text = render(describe(folder))
    file = file or folder / PAGE
    write_atomic(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return file


def render(page: Page) -> str:
    """The page as HTML that needs neither a server nor the network.

    Raises:
        MissingDependency: the template engine or plotly is not installed.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "plotly", "plots") from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, finalize=_make_legible)  # fmt: skip
    charts = {chart.name: _describe(chart) for section in page.sections for chart in section.charts}
    template = environment.from_string(_read("page.html"))
    return template.render(
        page=page,
        style=_as_markup(_read("page.css")),
        script=_as_markup(_read("page.js")),
        plotly=_as_markup(get_plotlyjs() if charts else ""),
        charts=_as_markup(_escape_json(charts)),
    )


def _describe(chart: Chart) -> dict[str, Any]:
    return {"traces": chart.traces, "layout": {**chart.layout, "height": chart.height}}


def _escape_json(value: Any) -> str:
    """JSON that browsers read, and that cannot end the script element it stands in."""
    text = json.dumps(_leave_gaps(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _leave_gaps(value: Any) -> Any:
    """Numbers that JSON has not are nothing: a gap in the figure."""
    if isinstance(value, Mapping):
        return {key: _leave_gaps(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_leave_gaps(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _make_legible(value: Any) -> Any:
    """Control characters of names are spelled out; markup of our own stays as it is."""
    return spell_controls(value) if type(value) is str else value


def _as_markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 -- of our own files, of plotly's, and JSON without "<"


def _read(name: str) -> str:
    return (files(ASSETS) / name).read_text(encoding="utf-8")

"""A page holds all that its run's records say, needs nothing but itself, and no name in it is markup."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from finished import RUN
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, make_front, make_run

from deploy_prune.analysis.page.sections import Card, Chart, Page, Section, Table
from deploy_prune.analysis.page.writing import PAGE, render, write_page
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.analysis.report_front import report_front
from deploy_prune.errors import MissingDependency, RecordError
from deploy_prune.legible import spell_controls
from deploy_prune.records import write_record

MOST_BYTES = 6_000_000


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.found if (value := attributes.get(attribute)) is not None]


def charts_of(page: str) -> dict[str, dict[str, object]]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert found
    charts: dict[str, dict[str, object]] = json.loads(found[1])
    return charts


@pytest.mark.parametrize("make", [make_run, make_front])
def test_a_page_needs_nothing_but_itself(make: type, tmp_path: Path) -> None:
    file = write_page(make(tmp_path / "out"))
    assert file == tmp_path / "out" / PAGE
    assert file.stat().st_size <= MOST_BYTES
    elements = Elements(file.read_text())
    assert not [tag for tag, attributes in elements.found if "src" in attributes]
    outside = [address for address in elements.values("href") if not address.startswith(("#", "data:"))]
    assert not outside
    assert "default-src 'none'" in " ".join(elements.values("content"))


@pytest.mark.parametrize("make", [make_run, make_front])
def test_every_chart_has_its_place_and_every_link_its_section(make: type, tmp_path: Path) -> None:
    text = write_page(make(tmp_path)).read_text()
    elements = Elements(text)
    places = elements.values("data-chart")
    assert sorted(places) == sorted(charts_of(text))
    assert len(set(places)) == len(places)
    anchors = elements.values("id")
    assert len(set(anchors)) == len(anchors)
    assert {address[1:] for address in elements.values("href") if address.startswith("#")} <= set(anchors)


def test_a_run_shows_accuracy_time_widths_layers_refit_files_and_how_to_repeat_it(tmp_path: Path) -> None:
    text = write_page(make_run(tmp_path)).read_text()
    assert set(charts_of(text)) == {"tradeoff", "layers-tflite", "widths", "curves", "stairs", "refit"}
    said = " ".join(Elements(text).texts)
    for each in (
        "89.00%", "-1.00 points [-3.00, +1.00]", "0.500", "0.480 to 0.520", "400,000 of 1,000,000", "model output",
        "It is twice as fast", "17, edge at 16", "0.4000", "nothing changed", "1.8e-06", "100.0% of 256 (1 ties)",
        "load 0.1", f"deploy-prune prune --config {tmp_path} --out again", "It takes --plan as well",
    ):  # fmt: skip
        assert each in said, each


def test_a_hatched_layer_is_off_its_stair(tmp_path: Path) -> None:
    layers = charts_of(write_page(make_run(tmp_path)).read_text())["layers-tflite"]
    _, after = layers["traces"]  # type: ignore[misc]
    assert after["marker"]["pattern"]["shape"] == ["/", ""]
    assert unescape(after["text"][0]) == "17 channels, the stair's edge is 16"


def test_a_front_has_a_point_per_network_and_the_plan_in_its_hint(tmp_path: Path) -> None:
    text = write_page(make_front(tmp_path)).read_text()
    dense, pruned = charts_of(text)["front"]["traces"]  # type: ignore[misc]
    assert dense["x"] == [8.0]
    assert pruned["x"] == pytest.approx([2.4, 3.2, 4.0])
    assert "body 3/6, " in pruned["text"][0] or "stem 2/4, " in pruned["text"][0]
    assert f"--config {tmp_path} --budget 4ms,3ms,2ms" in " ".join(Elements(text).texts)


def test_the_report_of_a_front_has_a_row_per_network(tmp_path: Path) -> None:
    report = report_front(make_front(tmp_path))
    assert [line.split(" | ")[1] for line in report.splitlines() if line.startswith("| pruned")] == [
        "4ms",
        "3ms",
        "2ms",
    ]
    assert "| dense |  | 90.00% [87.0%, 93.0%]" in report


def test_a_front_on_a_simulated_core_is_in_what_that_counts(tmp_path: Path) -> None:
    folder = make_front(tmp_path, unit="simulated Cortex-A72 cycles")
    assert " | simulated Cortex-A72 cycles | " in report_front(folder)
    text = write_page(folder).read_text()
    assert '"simulated Cortex-A72 cycles"' in text, "the axis"
    assert "<th>ms</th>" not in text


def test_a_run_that_nobody_looked_into_says_how_to(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / "explained.json").unlink()
    assert f"deploy-prune explain {tmp_path}" in write_page(tmp_path).read_text()


def test_a_run_without_curves_and_refit_leaves_these_out(tmp_path: Path) -> None:
    make_run(tmp_path)
    write_record(tmp_path / SUMMARY, RUN)
    assert not {"curves", "stairs", "refit"} & set(charts_of(write_page(tmp_path).read_text()))


def test_names_are_no_markup(tmp_path: Path) -> None:
    text = write_page(make_run(tmp_path, name=HOSTILE)).read_text()
    elements = Elements(text)
    assert "img" not in {tag for tag, _ in elements.found}
    assert "onerror" not in {name for _, attributes in elements.found for name in attributes}
    assert len(elements.values("id")) == len(
        Elements(write_page(make_run(tmp_path / "usual")).read_text()).values("id")
    )
    for trace in charts_of(text)["widths"]["traces"]:  # type: ignore[attr-defined]
        assert not any("<" in name for name in trace["y"])  # plotly reads some HTML in its labels


@given(text=st.text(min_size=1))
def test_any_text_comes_back_as_text(text: str) -> None:
    page = Page(text, text, (Card(text, text, text),), (Section("one", text, (), (Table.of((text,), [(text,)]),)),))
    elements = Elements(render(page).replace("\r", ""))
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 3
    assert tags.count("td") == 1
    words = spell_controls(text).split()
    assert "".join(elements.texts).split()[: len(words)] == words


def test_a_page_is_the_same_every_time(tmp_path: Path) -> None:
    make_run(tmp_path)
    assert write_page(tmp_path).read_bytes() == write_page(tmp_path, tmp_path / "again.html").read_bytes()


def test_a_page_needs_no_torch(tmp_path: Path) -> None:
    make_run(tmp_path)
    code = "import sys; sys.modules['torch'] = None; from deploy_prune.__main__ import main; main()"
    command = [sys.executable, "-c", code, "report", str(tmp_path), "--html", str(tmp_path / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").stat().st_size > 1000


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no run folder"):
        write_page(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["jinja2", "plotly.offline"])
def test_what_draws_it_is_named_where_it_is_missing(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependency, match="plots"):
        write_page(make_run(tmp_path))
    assert not (tmp_path / PAGE).exists()


def test_numbers_that_json_has_not_are_gaps() -> None:
    chart = Chart("one", "one", ({"x": (1.0, float("inf")), "y": [float("nan"), 2.0]},))
    charts = charts_of(render(Page("one", "one", (), (Section("one", "", (chart,)),))))
    assert charts["one"]["traces"] == [{"x": [1.0, None], "y": [None, 2.0]}]

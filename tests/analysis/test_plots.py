"""Lines of figures, drawn: in the terminal exactly, as files in the format that their name promises."""

from __future__ import annotations

import re

import pytest

from deploy_prune.analysis.plots import Line, Plot, draw_in_terminal, make_line, save
from deploy_prune.errors import ConfigError

STAIRS = Plot("b (pointwise)", "channels of b", "ms", (Line("model", (1, 2, 3, 4, 5), (0.5, 0.5, 1, 1, 2)),))
GOLDEN = """
b (pointwise)
2 ms |    █
     |    █
     |    █
     |    █
     |    █
     |    █
     |  ███
     |  ███
     |  ███
     |█████
     |█████
   0 |█████
      1   5 channels of b
""".strip("\n")


def test_a_staircase_in_the_terminal():
    assert draw_in_terminal(STAIRS) == GOLDEN


def test_parts_of_a_line_are_drawn_in_eighths():
    """15/16 of the height are eleven lines and a quarter; nothing is nothing."""
    rows = draw_in_terminal(Plot("t", "x", "ms", (Line("l", (1, 2, 3), (16, 15, 0)),))).splitlines()[1:-1]
    assert [row.partition("|")[2] for row in rows[:2]] == ["█▂ ", "██ "]


def test_a_line_of_nothing_is_drawn_too():
    assert len(draw_in_terminal(Plot("t", "x", "ms", (Line("l", (), ()),))).splitlines()) == 14
    assert len(draw_in_terminal(Plot("t", "x", "ms", (Line("l", (1,), (0.0,)),))).splitlines()) == 14


def test_points_without_a_value_are_left_out():
    assert make_line("l", [(1, 0.5), (2, None), (3, 0.7)], steps=True) == Line("l", (1, 3), (0.5, 0.7), steps=True)


def test_a_png_is_a_picture(tmp_path):
    save(STAIRS, tmp_path / "new" / "stairs.png")
    content = (tmp_path / "new" / "stairs.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) == (960, 540)


def test_an_html_page_stands_by_itself_and_holds_the_figures(tmp_path):
    save(STAIRS, tmp_path / "stairs.html")
    page = (tmp_path / "stairs.html").read_text()
    assert "Plotly.newPlot" in page and '"shape":"hvh"' not in page
    assert not re.search(r"<script[^>]* src=", page)
    assert '"title":{"text":"b (pointwise)"}' in page and '"y":[0.5,0.5,1,1,2]' in page


def test_a_series_of_steps_is_drawn_as_such(tmp_path):
    save(Plot("t", "x", "y", (Line("l", (1, 2), (1, 2), steps=True),)), tmp_path / "steps.html")
    assert '"shape":"hvh"' in (tmp_path / "steps.html").read_text()


@pytest.mark.parametrize("name", ["stairs.pdf", "stairs", "stairs.PNG"])
def test_another_ending_is_refused_and_nothing_is_written(tmp_path, name):
    with pytest.raises(ConfigError, match=r"is neither \.png nor \.html"):
        save(STAIRS, tmp_path / name)
    assert list(tmp_path.iterdir()) == []

"""What stands on a page: values without any markup; the template alone knows HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

NUMBER = re.compile(r"[-+]?[\d,.]+(e[-+]?\d+)?(x| ?%| MB| ms)?( \[.*\])?")
"""A cell that is written flush right."""


@dataclass(frozen=True)
class Card:
    """One figure that stands above everything else."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """What its columns mean."""
    filtered: bool = False
    """Whether it is long enough for a field that filters its rows."""

    @staticmethod
    def of(head: Iterable[str], rows: Iterable[Iterable[str]], note: str = "", *, filtered: bool = False) -> Table:
        """Make a table of any rows."""
        return Table(tuple(head), tuple(tuple(row) for row in rows), note, filtered)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold nothing but numbers."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.head)
        return tuple(any(column) and all(not cell or NUMBER.fullmatch(cell) for cell in column) for column in columns)


@dataclass(frozen=True)
class Chart:
    """A figure in the terms of plotly.js; what it shows is also in a table of its section."""

    name: str
    """What the page's own script finds it by."""
    title: str
    """What it shows, in a sentence."""
    traces: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 380
    """In pixels."""


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading."""

    title: str
    text: str = ""
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    """What is to be typed."""

    @property
    def anchor(self) -> str:
        """What links within the page name it by."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    verdict: str
    cards: tuple[Card, ...]
    sections: tuple[Section, ...]
    cautions: tuple[str, ...] = ()
    """What to know before believing it."""

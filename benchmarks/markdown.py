"""Markdown of the README's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = Sequence[str]


def titled(record: dict[str, Any], title: str, body: str, note: str = "") -> str:
    """A table with the command and the machine that made it."""
    machine = record["machine"]
    source = f"`{record['command']}`, {machine['processor']}, {machine['cores']} cores."
    return f"**{title}** ({source}{' ' + note if note else ''})\n\n{body}"


def table(head: Row, rows: Iterable[Row]) -> str:
    """Head and rows."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def percent(value: float | None) -> str:
    """Empty: there is none."""
    return "" if value is None else f"{value:.1%}"


def points(found: dict[str, Any]) -> str:
    """A paired difference with its interval."""
    low, high = found["interval"]
    return f"{found['points']:+.1f} [{low:+.1f}, {high:+.1f}]"


def each(values: Iterable[float], form: str) -> str:
    """One figure per seed, or per network."""
    return " / ".join(form.format(value) for value in values)


def missed(gates: dict[str, bool]) -> str:
    """Which limits were not kept."""
    failed = [name for name, passed in gates.items() if not passed]
    return f"**missed: {'; '.join(failed)}**" if failed else "all kept"

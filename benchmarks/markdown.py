"""Markdown of the tables that are made from records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Sequence[str]


def titled(
    record: dict[str, Any], title: str, body: str, note: str = "", gates: Mapping[str, bool] | None = None
) -> str:
    """A section: the gates that were missed, the command and the machine that made the table, the table."""
    machine = record["machine"]
    source = f"`{record['command']}`, {machine['processor']}, {machine['cores']} cores."
    return f"## {title}\n\n{_verdict(gates)}{source}{' ' + note if note else ''}\n\n{body}"


def _verdict(gates: Mapping[str, bool] | None) -> str:
    if not gates:
        return ""
    failed = [name for name, kept in gates.items() if not kept]
    count = f"{len(failed)} of {len(gates)}"
    return f"**Missed, {count} gates**: {'; '.join(failed)}.\n\n" if failed else f"All {len(gates)} gates kept.\n\n"


def below(what: str, limit: float, unit: str) -> str:
    """The name of a gate that has an upper limit."""
    return f"{what}, at most {limit:g} {unit}"


def table(head: Row, rows: Iterable[Row]) -> str:
    """Head and rows."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def percent(value: float | None) -> str:
    """Empty: there is none."""
    return "" if value is None else f"{value:.1%}"


def points(difference: dict[str, Any]) -> str:
    """A paired difference with its interval."""
    low, high = difference["interval"]
    return f"{difference['points']:+.1f} [{low:+.1f}, {high:+.1f}]"


def each(values: Iterable[float], form: str) -> str:
    """One figure per seed, or per network."""
    return " / ".join(form.format(value) for value in values)


def missed(gates: dict[str, bool]) -> str:
    """Which limits were not kept."""
    failed = [name for name, passed in gates.items() if not passed]
    return f"**missed: {'; '.join(failed)}**" if failed else "all kept"

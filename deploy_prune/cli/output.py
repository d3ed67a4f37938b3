"""What the command line prints: tables and JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import typer

from deploy_prune.errors import DeployPruneError
from deploy_prune.legible import indent_further_lines, spell_controls
from deploy_prune.values import Lines, Progress, quiet


def say(text: str, *, err: bool = False) -> None:
    """A text on stdout, or on stderr; names in it cannot steer the terminal."""
    typer.echo(spell_controls(text), err=err)


def show_json(**results: Any) -> None:
    """The results as one JSON object on stdout; values may be any of `values`."""
    from deploy_prune.records import to_json

    plain = {key: to_json(value, object) for key, value in results.items()}
    typer.echo(json.dumps(plain, allow_nan=False))


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; columns whose every cell starts with a digit are set right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(spell_controls(title)), title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        numeric = all(row[index][:1].isdigit() or row[index] in {"", "-"} for row in rows)
        table.add_column(Text(spell_controls(column)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(spell_controls(cell)) for cell in row))
    # A pipe has no width: 80 columns would fold paths that scripts look for.
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 200)
    with console.capture() as drawn:  # rich would end the process where nobody reads stdout
        console.print(table)
    typer.echo(drawn.get(), nl=False)


def show_error(error: DeployPruneError, *, as_json: bool) -> None:
    """Message and hint on stderr, and with `--json` as an object on stdout."""
    say(f"error: {indent_further_lines(error.message)}", err=True)
    if error.hint:
        say(f"hint: {indent_further_lines(error.hint)}", err=True)
    if as_json:
        # Where stdout is what refused, stderr has said it all.
        with suppress(OSError):
            show_json(error=make_error_record(error))


def make_error_record(error: DeployPruneError) -> dict[str, str | int]:
    """What scripts read of an error."""
    return make_failure_record(type(error).__name__, error.message, error.hint, error.exit_code)


def make_failure_record(kind: str, message: str, hint: str, exit_code: int) -> dict[str, str | int]:
    """The same for what ends a command without an error of ours: wrong usage, an interruption."""
    return {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}


@contextmanager
def show_progress(*, as_json: bool) -> Iterator[Progress]:
    """A progress bar on stderr with an ETA; plain lines now and then where stderr is no terminal; none with JSON."""
    if as_json:
        yield quiet
    elif sys.stderr.isatty():
        with _show_bars() as draw:
            yield draw
    else:
        yield Lines()


@contextmanager
def _show_bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    tasks: dict[str, Any] = {}
    with Bars(*columns, console=Console(stderr=True), transient=False) as bars:

        def draw(task: str, done: int, total: int, note: str = "") -> None:
            task, note = spell_controls(task), spell_controls(note)
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total, note=note)
            bars.update(tasks[task], completed=done, total=total, note=note)

        yield draw

"""The console script: verbs from the table below, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import sys

from deploy_prune.leaving import is_our_command, leave_when_interrupted

if __name__ == "__main__" or is_our_command(sys.argv[0]):
    leave_when_interrupted()  # what is imported below takes a while

import io
import logging
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Annotated, Protocol, cast

import typer

from deploy_prune.cli import (
    bench,
    bundle,
    demo,
    devices,
    doctor,
    explain,
    export,
    finetune,
    gate,
    history,
    inspect,
    latency,
    output,
    plan,
    profile,
    prune,
    refit,
    report,
    sensitivity,
)
from deploy_prune.cli.ending import fill_closed_streams, is_unheard, name_error, stop_writing
from deploy_prune.cli.flags import Flag, add_flags
from deploy_prune.cli.once import Once
from deploy_prune.cli.trusting import add_trust
from deploy_prune.errors import (
    INTERRUPTED,
    OUR_FAULT,
    UNHEARD,
    DeployPruneError,
)
from deploy_prune.legible import LegibleFormatter
from deploy_prune.version import __version__

Verbs = Mapping[str, Callable[..., int | None]]
"""Verb -> the function that does it; its parameters are the verb's flags."""

VERBS: Verbs = {
    "demo": demo.demo,
    "doctor": doctor.doctor,
    "devices": devices.devices,
    "inspect": inspect.inspect,
    "profile": profile.profile,
    "plan": plan.plan,
    "sensitivity": sensitivity.sensitivity,
    "prune": prune.prune,
    "finetune": finetune.finetune,
    "refit": refit.refit,
    "export": export.export,
    "bench": bench.bench,
    "gate": gate.gate,
    "history": history.history,
    "bundle": bundle.bundle,
    "explain": explain.explain,
    "report": report.report,
}

FLAGS: dict[str, tuple[Flag, ...]] = {"prune": prune.FLAGS}
"""Verbs that take fields of a configuration, which is loaded only where one of them is asked for."""

GROUPS: Mapping[str, Verbs] = {"latency": latency.VERBS}
"""Verbs of verbs."""
TRUSTING = {
    "inspect",
    "profile",
    "plan",
    "sensitivity",
    "prune",
    "finetune",
    "refit",
    "export",
    "latency show",
    "latency export",
}
"""Verbs that build networks, which a record may say is done by a Python file."""
STOPPING = frozenset({"SIGINT", "SIGTERM", "SIGHUP"})
"""The signals that a command ends upon, not all of which there are on every system."""
HELP = {"latency": "Look into the store of latency tables, and share them as files."}


class _UsageError(Protocol):
    """What typer's exceptions for wrong flags can do; it exports their base class alone."""

    def show(self, file: IO[str]) -> None: ...

    def format_message(self) -> str: ...


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    if not fill_closed_streams():
        sys.exit(UNHEARD)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is spelled out, not a fault
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LegibleFormatter())
    stopped_by = _stop_on_signals()
    try:
        exit_code = run(sys.argv[1:], stopped_by=stopped_by)
    except KeyboardInterrupt:  # between what `run` guards
        exit_code = _find_stop_code(stopped_by)
    except Exception:  # noqa: BLE001 - a fault of ours must not look like a gate that was missed (exit 1)
        output.say(traceback.format_exc(), err=True)
        output.say("This is a fault of deploy-prune: please report it with the lines above.", err=True)
        exit_code = OUR_FAULT
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        exit_code = UNHEARD
    except OSError:
        stop_writing()  # it is full, which the exit code says already
    if exit_code == UNHEARD:
        stop_writing()
    sys.exit(exit_code)


def _stop_on_signals() -> list[int]:
    """Have Ctrl-C, SIGTERM and SIGHUP end the command where it can clean up; a second one ends it at once.

    Returns:
        The signals that have come; what is ignored (as SIGHUP by nohup) stays so.
    """
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    for number in signal.Signals:
        if number.name in STOPPING and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    return came


def _find_stop_code(stopped_by: Sequence[int]) -> int:
    """The usual exit code of a command that was ended by a signal: 128 and its number."""
    return 128 + stopped_by[0] if stopped_by else INTERRUPTED


def run(arguments: Sequence[str], *, verbs: Verbs = VERBS, stopped_by: Sequence[int] = ()) -> int:
    """Run one command line and return its exit code (the table in `errors.py`).

    Args:
        arguments: the command line, without the program's name.
        verbs: what each of the verbs does.
        stopped_by: the signals that have come by now; all that goes wrong after one is its doing.
    """
    try:
        return _run(arguments, verbs, stopped_by)
    except BrokenPipeError as error:
        if not is_unheard(error):
            raise
        return UNHEARD
    except Exception:
        if not stopped_by:
            raise
    return _tell_interruption(_find_stop_code(stopped_by), as_json="--json" in arguments)


def _run(arguments: Sequence[str], verbs: Verbs, stopped_by: Sequence[int]) -> int:
    as_json = "--json" in arguments
    try:
        asked = next((each for each in arguments if not each.startswith("-")), "")
        result = build_application(asked, verbs=verbs)(
            args=list(arguments), prog_name="deploy-prune", standalone_mode=False
        )
    except typer.TyperException as error:
        return _tell_misuse(error, as_json=as_json)
    except KeyboardInterrupt:
        result = INTERRUPTED
    except SystemExit as leaving:
        if not is_unheard(leaving):
            raise
        result = UNHEARD
    except Exception as error:
        named = name_error(error)
        if named is None or stopped_by:
            raise
        return _tell_error(named, as_json=as_json)
    if result == INTERRUPTED:
        return _tell_interruption(_find_stop_code(stopped_by), as_json=as_json)
    return result if isinstance(result, int) else 0


def build_application(asked: str | None = None, *, verbs: Verbs = VERBS) -> typer.Typer:
    """The typer application of all verbs, in the order of the table; flags of fields for one alone, if one is named."""
    # Help without rich's markup: loading it would double the time of --help.
    app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name, verb in verbs.items():
        flags = FLAGS.get(name)
        command = verb if flags is None else add_flags(verb, flags if asked in {None, name} else ())
        app.command(name, cls=Once)(add_trust(command) if name in TRUSTING else command)
    for name, members in GROUPS.items():
        group = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help=HELP[name])
        for verb_name, verb in members.items():
            group.command(verb_name, cls=Once)(add_trust(verb) if f"{name} {verb_name}" in TRUSTING else verb)
        app.add_typer(group, name=name)
    return app


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Prune a CNN, export it, verify the files and time them where they will run."""


def _tell_error(error: DeployPruneError, *, as_json: bool) -> int:
    output.show_error(error, as_json=as_json)
    return error.exit_code


def _tell_misuse(error: typer.TyperException, *, as_json: bool) -> int:
    usage = cast("_UsageError", error)
    told = io.StringIO()
    usage.show(told)
    output.say(told.getvalue().rstrip("\n"), err=True)
    if as_json:
        record = output.make_failure_record("UsageError", usage.format_message(), "", error.exit_code)
        output.show_json(error=record)
    return error.exit_code


def _tell_interruption(exit_code: int, *, as_json: bool) -> int:
    message, hint = "interrupted", "the same command continues where it stopped"
    output.say(f"{message}; {hint}", err=True)
    if as_json:
        output.show_json(error=output.make_failure_record("Interrupted", message, hint, exit_code))
    return exit_code


if __name__ == "__main__":
    main()

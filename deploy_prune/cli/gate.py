"""`deploy-prune gate`: whether an exported file may take the place of another, as CI asks."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import DeviceAddress, Json
from deploy_prune.cli.output import make_error_record, say, show_json, show_progress
from deploy_prune.errors import ConfigError, DeployPruneError, Inconclusive, InputError, TargetMissed, UnknownName
from deploy_prune.timing.devices import THIS_MACHINE, device_at

if TYPE_CHECKING:
    from deploy_prune.analysis.gating.gate import GateResult
    from deploy_prune.analysis.gating.limits import Limits
    from deploy_prune.timing.bench import Setting

Baseline = Annotated[Path | None, typer.Option("--baseline", metavar="FILE", help="The file that ships today.")]
Candidate = Annotated[
    Path | None,
    typer.Option(
        "--candidate", metavar="FILE|RUN", help="The file that would take its place; of a run the pruned one."
    ),
]
MaxRatio = Annotated[float, typer.Option("--max-ratio", help="Its time / the baseline's, at the most; 0: any.")]
MinDelta = Annotated[
    float, typer.Option("--min-delta-ms", help="Slower by less than that counts as no slower, in the device's unit.")
]
Budget = Annotated[
    float | None, typer.Option("--budget-ms", help="The time that it may take itself, in the device's unit.")
]
MaxSize = Annotated[int | None, typer.Option("--max-bytes", help="The size of its file, in bytes, at the most.")]
MaxMemory = Annotated[
    int | None, typer.Option("--max-memory-bytes", help="The memory of the process that runs it, at the most.")
]
NotDelegated = Annotated[
    int | None, typer.Option("--max-not-delegated", metavar="N", help="Operators that no delegate takes, at the most.")
]
Partitions = Annotated[
    int | None, typer.Option("--max-partitions", metavar="N", help="Parts that a delegate takes it in, at the most.")
]
Accuracy = Annotated[
    float | None,
    typer.Option("--min-accuracy", metavar="SHARE", help="Right answers on test, of 1; --candidate is a run folder."),
]
OneCount = Annotated[int, typer.Option("--threads", min=1, help="How many threads both run with.")]
TimeLimit = Annotated[float, typer.Option("--time-limit", metavar="S", help="Seconds until it is inconclusive.")]
Output = Annotated[
    list[str] | None,
    typer.Option("--output", metavar="FORM=FILE", help="junit, markdown, annotation or figures, too; repeatable."),
]
Record = Annotated[
    Path | None,
    typer.Option("--baseline-record", metavar="FILE", help="Measurements of before (SQLite), in place of --baseline."),
]
Update = Annotated[bool, typer.Option("--update-baseline", help="Add this measurement to them, unless it failed.")]
Calibrate = Annotated[
    int | None,
    typer.Option("--calibrate", metavar="N", help="Hold --baseline against itself in N sessions: what can be told."),
]
Template = Annotated[
    str | None, typer.Option("--template", metavar="NAME", help="Print a job for github or gitlab, and time nothing.")
]
Strict = Annotated[bool, typer.Option("--strict", help="End with exit code 5 where it is inconclusive, not with 0.")]


def gate(
    baseline: Baseline = None,
    candidate: Candidate = None,
    baseline_record: Record = None,
    update_baseline: Update = False,
    calibrate: Calibrate = None,
    max_ratio: MaxRatio = 1.05,
    min_delta_ms: MinDelta = 0.1,
    budget_ms: Budget = None,
    max_bytes: MaxSize = None,
    max_memory_bytes: MaxMemory = None,
    max_not_delegated: NotDelegated = None,
    max_partitions: Partitions = None,
    min_accuracy: Accuracy = None,
    threads: OneCount = 1,
    device: DeviceAddress = THIS_MACHINE,
    time_limit: TimeLimit = 120.0,
    output: Output = None,
    template: Template = None,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Say whether an exported file is slower than the one that ships, for CI.

    Both are timed in turns in one session, opened anew again and again, until the interval lies on one side of the
    limit. Exit code 1 (failed) takes the whole interval above the limit, in two sessions that were started apart; where
    the time is over before, it is inconclusive: exit code 0, or 5 with --strict. With --baseline-record the candidate
    is held against earlier measurements of a file of its name on the same device and runtime, eight at the least.
    """
    if template is not None:
        say(read_template(template).rstrip("\n"))
        return 0
    from deploy_prune.analysis.gating.limits import Limits
    from deploy_prune.timing.bench import Setting

    wanted = parse_outputs(output)
    limits = Limits(max_ratio or None, min_delta_ms, budget_ms, max_bytes, max_memory_bytes, max_not_delegated,
                    max_partitions, min_accuracy)  # fmt: skip
    asked = Asked(Setting(device_at(device), threads, 0), limits, time_limit, as_json=as_json)
    if calibrate is not None:
        return show_calibration(baseline or candidate, calibrate, asked)
    result = _hold(candidate, baseline, baseline_record, asked, update=update_baseline)
    _write(result, wanted)
    return show_gate(result, as_json=as_json, strict=strict)


@dataclass(frozen=True)
class Asked:
    """Where files run, what they are held to, and for how long."""

    setting: Setting
    limits: Limits
    time_limit_s: float
    as_json: bool


def _hold(
    candidate: Path | None, baseline: Path | None, record: Path | None, asked: Asked, *, update: bool
) -> GateResult:
    if candidate is not None and baseline is not None and record is None:
        return _compare(baseline, candidate, asked)
    if candidate is not None and baseline is None and record is not None:
        return _look_back(candidate, record, asked, update=update)
    hint = "give --candidate FILE, and --baseline FILE or --baseline-record FILE"
    raise ConfigError("the gate holds one file against another, or against a record", hint=hint)


def _compare(baseline: Path, candidate: Path, asked: Asked) -> GateResult:
    from deploy_prune.analysis.artifacts import describe_artifact
    from deploy_prune.analysis.gating.candidates import find_candidate
    from deploy_prune.analysis.gating.gate import run_gate

    first = describe_artifact(baseline)
    artifact, quality = find_candidate(candidate, first.format)
    with show_progress(as_json=asked.as_json) as told:
        return run_gate((first, artifact), asked.setting, asked.limits, quality=quality,
                        time_limit_s=asked.time_limit_s, progress=told)  # fmt: skip


def _look_back(candidate: Path, record: Path, asked: Asked, *, update: bool) -> GateResult:
    from deploy_prune.analysis.gating.candidates import find_candidate
    from deploy_prune.analysis.gating.history import open_history
    from deploy_prune.analysis.gating.history_gate import run_gate_on_history, update_history

    known = find_candidate(candidate)
    with open_history(record, make=update) as history, show_progress(as_json=asked.as_json) as told:
        result = run_gate_on_history(
            known, asked.setting, asked.limits, history, time_limit_s=asked.time_limit_s, progress=told
        )
        if update:
            update_history(history, known[0], asked.setting, result)
    return result


def show_calibration(file: Path | None, sessions: int, asked: Asked) -> int:
    """Hold a file against itself and print what a gate can tell here.

    Raises:
        ConfigError: no file, too few sessions, or the limit is below what can be told.
    """
    if file is None:
        raise ConfigError("there is no file to hold against itself", hint="give --baseline FILE")
    from deploy_prune.analysis.artifacts import describe_artifact
    from deploy_prune.analysis.gating.calibration import calibrate, find_blind_limit, write_calibration
    from deploy_prune.analysis.gating.gate import FIRST

    limit, seconds = asked.limits.max_ratio or 1.0, FIRST * asked.time_limit_s
    with show_progress(as_json=asked.as_json) as told:
        calibration = calibrate(describe_artifact(file), asked.setting, limit, sessions=sessions, session_s=seconds,
                          progress=told)  # fmt: skip
    refused = find_blind_limit(calibration)
    if asked.as_json:
        show_json(calibration=calibration, **({"error": make_error_record(refused)} if refused else {}))
        return refused.exit_code if refused else 0
    say(write_calibration(calibration))
    if refused:
        raise refused
    return 0


def read_template(name: str) -> str:
    """The text of a job for a CI system.

    Raises:
        UnknownName: no such template.
    """
    folder = resources.files("deploy_prune.analysis.gating") / "ci"
    known = sorted(entry.name.removesuffix(".yml") for entry in folder.iterdir())
    if name not in known:
        raise UnknownName("template", name, known)
    return (folder / f"{name}.yml").read_text(encoding="utf-8")


def parse_outputs(output: list[str] | None) -> dict[str, Path]:
    """`["junit=gate.xml"]` -> the form and the file.

    Raises:
        ConfigError: no such form.
    """
    from deploy_prune.analysis.gating.outputs import FORMS

    wanted = {}
    for text in output or ():
        form, _, file = text.partition("=")
        if form not in FORMS or not file:
            hint = f"write --output FORM=FILE with one of {', '.join(FORMS)}"
            raise ConfigError(f"--output '{text}' is no form and file", hint=hint)
        wanted[form] = Path(file)
    return wanted


def _write(result: GateResult, wanted: dict[str, Path]) -> None:
    from deploy_prune.analysis.gating.outputs import FORMS
    from deploy_prune.records import write_atomic

    for form, path in wanted.items():
        text = FORMS[form](result)
        write_atomic(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))  # type: ignore[misc]


def show_gate(result: GateResult, *, as_json: bool, strict: bool) -> int:
    """Print the verdict, and end with its exit code.

    Raises:
        DeployPruneError: see `find_error`, where the verdict is not printed as JSON.
    """
    from deploy_prune.analysis.gating.outputs import write_text

    error = find_error(result, strict=strict)
    if as_json:  # the result and the error are one document
        show_json(gate=result, **({"error": make_error_record(error)} if error else {}))
        return error.exit_code if error else 0
    say(write_text(result))
    if error:
        raise error
    return 0


def find_error(result: GateResult, *, strict: bool) -> DeployPruneError | None:
    """What a verdict ends the command with: `TargetMissed` where it failed, `InputError` where the files cannot be
    compared, `Inconclusive` where it is not told and `strict` asks for that. None: nothing.
    """
    if result.verdict == "failed":
        hint = "`deploy-prune explain BASELINE CANDIDATE` says which layers take longer"
        return TargetMissed(f"{result.candidate} missed the gate: {result.why}", hint=hint)
    if result.verdict == "not comparable":
        hint = "give two files of one format, precision and input"
        return InputError(f"{result.candidate} and {result.baseline} cannot be compared: {result.why}", hint=hint)
    if result.verdict == "inconclusive" and strict:
        return Inconclusive(result.why, hint="take a quieter machine, or a longer --time-limit")
    return None

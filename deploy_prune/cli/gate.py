"""`deploy-prune gate`: whether an exported file may take the place of another, as CI asks."""

from __future__ import annotations

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

Baseline = Annotated[Path | None, typer.Option("--baseline", metavar="FILE", help="The file that ships today.")]
Candidate = Annotated[
    Path | None, typer.Option("--candidate", metavar="FILE", help="The file that would take its place.")
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
OneCount = Annotated[int, typer.Option("--threads", min=1, help="How many threads both run with.")]
TimeLimit = Annotated[float, typer.Option("--time-limit", metavar="S", help="Seconds until it is inconclusive.")]
Output = Annotated[
    list[str] | None,
    typer.Option("--output", metavar="FORM=FILE", help="junit, markdown, annotation or figures, too; repeatable."),
]
Template = Annotated[
    str | None, typer.Option("--template", metavar="NAME", help="Print a job for github or gitlab, and time nothing.")
]
Strict = Annotated[bool, typer.Option("--strict", help="End with exit code 5 where it is inconclusive, not with 0.")]


def gate(
    baseline: Baseline = None,
    candidate: Candidate = None,
    max_ratio: MaxRatio = 1.05,
    min_delta_ms: MinDelta = 0.1,
    budget_ms: Budget = None,
    max_bytes: MaxSize = None,
    max_memory_bytes: MaxMemory = None,
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
    the time is over before, it is inconclusive: exit code 0, or 5 with --strict.
    """
    if template is not None:
        say(read_template(template).rstrip("\n"))
        return 0
    if baseline is None or candidate is None:
        raise ConfigError("the gate compares two files", hint="give --baseline FILE and --candidate FILE")
    from deploy_prune.analysis.artifacts import describe_artifact
    from deploy_prune.analysis.gating.gate import run_gate
    from deploy_prune.analysis.gating.limits import Limits
    from deploy_prune.timing.bench import Setting

    wanted = parse_outputs(output)
    limits = Limits(max_ratio or None, min_delta_ms, budget_ms, max_bytes, max_memory_bytes)
    pair = describe_artifact(baseline), describe_artifact(candidate)
    with show_progress(as_json=as_json) as told:
        result = run_gate(pair, Setting(device_at(device), threads, 0), limits, time_limit_s=time_limit, progress=told)
    _write(result, wanted)
    return show_gate(result, as_json=as_json, strict=strict)


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

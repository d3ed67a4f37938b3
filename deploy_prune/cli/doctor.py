"""`deploy-prune doctor`: what this machine can export, run and time, or what an exported file needs and holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.devices import examine_device
from deploy_prune.cli.options import Json
from deploy_prune.cli.output import show_error, show_json, show_table
from deploy_prune.errors import DeployPruneError

if TYPE_CHECKING:
    from deploy_prune.analysis.describe import FileDescription, Opening
    from deploy_prune.analysis.doctor import Diagnosis

File = Annotated[Path | None, typer.Argument(metavar="FILE", help="An exported file to look into.", show_default=False)]


Address = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="ADDRESS", help="A device to look at, such as ssh://pi@board.", show_default=False
    ),
]
Setup = Annotated[
    bool, typer.Option("--setup", help="Install what runs files on that device, in a folder of its own there.")
]


def doctor(file: File = None, device: Address = None, setup: Setup = False, as_json: Json = False) -> int:
    """Say what this machine or another device can do, or what an exported file needs and holds.

    Without FILE: what can be built, exported and run here, the pip command for what is missing, and how steady times
    are here; with --device, what that device is and what it lacks. With FILE: runtimes, operators, precision, inputs
    and outputs, metadata, and whether it opens here.
    """
    if device is not None or setup:
        return examine_device(file, device, setup=setup, as_json=as_json)
    if file is None:
        from deploy_prune.analysis.doctor import diagnose

        diagnosis = diagnose()
        if as_json:
            show_json(version=diagnosis.version, machine=diagnosis.machine, abilities=diagnosis.abilities)
        else:
            show_diagnosis(diagnosis)
        return 0
    from deploy_prune.analysis.describe import describe

    description = describe(file)
    if as_json:
        show_json(file=description)
    else:
        show_description(description)
        if description.opening.opens is False:
            show_error(DeployPruneError(description.opening.detail), as_json=False)
    return description.opening.exit_code


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """The machine, and one row per plugin."""
    machine, now = diagnosis.machine, diagnosis.machine.conditions
    memory = "not told" if machine.memory_bytes is None else f"{machine.memory_bytes / 2**30:.1f} GiB"
    frequency = "not told" if now.frequency_mhz is None else f"{now.frequency_mhz:.0f} MHz"
    facts = {
        "deploy-prune": diagnosis.version,
        "python": machine.python,
        "system": machine.system,
        "processor": f"{machine.processor}, {machine.cores} cores for this process",
        "memory": memory,
        "load": "not told" if now.load is None else f"{now.load:.2f}",
        "frequency": frequency,
        "governor": now.governor or "not told",
        "timing": "; ".join(machine.advice) or "nothing in the way of steady times",
    }
    _show_facts("This machine", facts)
    rows = [
        (
            ability.kind,
            ability.name,
            "yes" if ability.available else "no",
            ", ".join(f"{name} {version}" for name, version in ability.versions.items()),
            ability.install,
        )
        for ability in diagnosis.abilities
    ]
    show_table("What it can do", ("kind", "name", "available", "version", "to install"), rows)


def show_description(description: FileDescription) -> None:
    """What a file needs, what goes in and out, its operators, and its metadata."""
    report = description.report
    facts = {
        "format": f"{report.format}, {report.version}",
        **{f"oldest {name}": version for name, version in report.needs.items()},
        "weights": write_weight_shares(report.weights_bytes),
        "XNNPACK": report.xnnpack,
        "opens here": _word_opening(description.opening),
    }
    _show_facts(description.path, facts)
    tensors = [(way, spec) for way, specs in (("in", report.inputs), ("out", report.outputs)) for spec in specs]
    rows = [(way, spec.name, "x".join(map(_write_size, spec.shape)), spec.dtype) for way, spec in tensors]
    show_table("In and out", ("", "name", "shape", "type"), rows)
    operators = [(row.name, str(row.count), row.kernels or "not known") for row in report.operators]
    show_table("Operators", ("operator", "count", "computed by"), operators)
    if report.metadata:
        show_table("Metadata", ("key", "value"), list(report.metadata.items()))


def write_weight_shares(weights_bytes: Mapping[str, int]) -> str:
    """`float16 98.1 %, float32 1.9 % of 2,345 bytes`."""
    total = sum(weights_bytes.values())
    shares = ", ".join(f"{dtype} {write_share(size / total)}" for dtype, size in weights_bytes.items())
    return f"{shares} of {total:,} bytes" if shares else "none"


def write_share(part: float) -> str:
    """A share in percent: what is there is never told as 0, nor what is not all as 100."""
    if part == 1:
        return "100 %"
    percent = 100 * part
    return "under 0.1 %" if percent < 0.1 else f"{min(percent, 99.9):.1f} %"


def _word_opening(opening: Opening) -> str:
    words = {True: "yes: ", False: "no: ", None: "not known: "}
    return words[opening.opens] + opening.detail


def _write_size(size: int) -> str:
    return "any" if size < 0 else str(size)


def _show_facts(title: str, facts: Mapping[str, str]) -> None:
    show_table(title, ("", "is"), list(facts.items()))

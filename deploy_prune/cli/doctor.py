"""`deploy-prune doctor`: what this machine can export, run and time."""

from __future__ import annotations

from deploy_prune.cli.options import Json
from deploy_prune.cli.output import show_json, show_table


def doctor(as_json: Json = False) -> None:
    """Say what this machine can do.

    Lists what it can build, export and run, the pip command for what is missing, and how steady times are here.
    """
    from deploy_prune.diagnosis import diagnose

    diagnosis = diagnose()
    if as_json:
        show_json(version=diagnosis.version, machine=diagnosis.machine, abilities=diagnosis.abilities)
        return
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
    show_table("This machine", ("", "is"), list(facts.items()))
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

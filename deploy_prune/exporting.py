"""The export stage: one network in, one verified file per target format out; a format that fails stops no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy_prune import conditions, plugins
from deploy_prune.delivery import Job, deliver
from deploy_prune.errors import ExportFailed
from deploy_prune.exporters import PLAIN, Exporter
from deploy_prune.processes import Outcome, Unsendable, run_each
from deploy_prune.records import remove_unfinished
from deploy_prune.reference import Images, make_reference
from deploy_prune.values import AppForm, Network, Progress, Shipment, quiet

Targets = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Formats, or formats with the options of their exporters: `{"onnx": {"dynamic_batch": True}}`."""


def export(
    network: Network,
    targets: Targets,
    folder: Path,
    *,
    images: Images = None,
    form: AppForm = PLAIN,
    progress: Progress = quiet,
) -> tuple[Shipment, ...]:
    """Write `folder/NAME.SUFFIX` per target, then run each file on its runtime against the network.

    Every format is worked on in a process of its own, as many at once as there are cores: a converter or runtime that
    crashes costs that format alone.

    Args:
        network: it is not changed.
        targets: names of exporters, if need be with options.
        folder: made if missing; a file is moved into place only when it is complete.
        images: to verify on; 200 or more say something about top-1. Bytes (images, height, width, channels), or
            normalised floats (images, channels, height, width). None: random inputs alone.
        form: what the app passes in and gets back, and the name of the files.
        progress: told whenever a format is begun or done.

    Returns:
        One row per target in their order, "verified", "exported" or "failed" with a reason.

    Raises:
        UnknownName: no such target or option; nothing has been written.
        ConfigError: the network cannot take that form.
        StorageError: the file system refuses.
        DataError: the images do not have the network's input shape.
    """
    exporters = _built(targets)
    jobs = [Job(name, exporter, folder / f"{form.name}{exporter.suffix}") for name, exporter in exporters.items()]
    progress("export", 0, len(jobs), "the network itself")
    try:
        reference = make_reference(network, images, form)
        cores = len(conditions.allowed_cores())
        outcomes = run_each(deliver, reference, jobs, at_once=cores, told=_telling(progress, jobs))
    except ExportFailed as error:  # the network's own fault, whatever the format
        return tuple(Shipment(name, "failed", reason=str(error)) for name in exporters)
    except Unsendable as error:
        reason = f"{network.address} cannot be handed to a process of its own: {error}"
        return tuple(Shipment(name, "failed", reason=reason) for name in exporters)
    if any(outcome.died for outcome in outcomes):
        remove_unfinished(folder)
    return tuple(_row(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True))


def _built(targets: Targets) -> dict[str, Exporter]:
    options = targets if isinstance(targets, Mapping) else {name: {} for name in targets}
    return {name: plugins.build("exporters", name, chosen) for name, chosen in options.items()}


def _telling(progress: Progress, jobs: Sequence[Job]) -> Callable[[list[Job], int], None]:
    def told(running: list[Job], done: int) -> None:
        progress("export", done, len(jobs), ", ".join(job.format for job in running))

    return told


def _row(job: Job, outcome: Outcome[Shipment]) -> Shipment:
    row = outcome.result
    if row is None:
        hint = "a fault of the converter: other formats may do"
        return Shipment(job.format, "failed", reason=f"the converter died ({outcome.died})\n  {hint}")
    if outcome.died:
        return replace(row, status="failed", reason=f"the runtime died while it ran the file ({outcome.died})")
    return row

"""One network, one format: convert and write, then run the file against the network. What an export does per format."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deploy_prune import plugins
from deploy_prune.analysis.describe import read_report
from deploy_prune.causes import is_out_of_memory
from deploy_prune.errors import DeployPruneError, InputError, MissingDependency, NotVerifiable, StorageError
from deploy_prune.exporting.exporters import Exporter
from deploy_prune.exporting.identity import identify
from deploy_prune.exporting.parity.comparison import tell_difference
from deploy_prune.exporting.parity.reference import Questions, Reference
from deploy_prune.exporting.parity.verification import verify
from deploy_prune.records import count_bytes, sha256, write_atomic
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import FP32, Artifact, Precision, Shipment


@dataclass(frozen=True)
class FormatJob:
    """A file to write: its format by name, the exporter with its options, and the precision it is asked for in."""

    format: str
    exporter: Exporter
    path: Path
    precision: Precision = FP32
    calibration: Sequence[np.ndarray] | None = field(default=None, repr=False)
    """Batches of typical inputs, float32 (n, c, h, w), for a precision of whole numbers; None: there are none."""


@dataclass(frozen=True)
class Written:
    """A file to run: what was to be written, and what became of it."""

    job: FormatJob
    row: Shipment


def write(questions: Questions, job: FormatJob) -> Shipment:
    """The row of a file that is written ("exported"), or of one that could not be ("failed").

    Raises:
        StorageError: the file system refuses.
    """
    try:
        artifact = _write_file(questions, job)
    except StorageError:
        raise
    except DeployPruneError as error:
        if is_out_of_memory(error):
            raise
        return Shipment(job.format, "failed", reason=str(error))
    return Shipment(job.format, "exported", artifact, reason="not verified")


def check(reference: Reference, written: Written) -> Shipment:
    """The row of a written file once it has been run against the network."""
    row, artifact = written.row, written.row.artifact
    assert artifact
    try:
        runtime = plugins.build(RUNTIMES, written.job.exporter.runtime)
        runtime.version()
        parity = verify(reference, artifact, runtime=runtime)
    except (MissingDependency, NotVerifiable) as error:
        return replace(row, reason=f"not verified: {error}")
    except DeployPruneError as error:
        if is_out_of_memory(error):
            raise
        return replace(row, status="failed", reason=str(error))
    if not parity.passed:
        return replace(row, status="failed", parity=parity, reason=tell_difference(parity))
    return replace(row, status="verified", parity=parity, reason="")


def _write_file(questions: Questions, job: FormatJob) -> Artifact:
    started = time.perf_counter()
    network, form, exporter = questions.network, questions.form, job.exporter
    version = exporter.version()

    def write_to(path: Path) -> None:
        exporter.write(network, path, form, precision=job.precision, calibration=job.calibration)

    write_atomic(job.path, write_to)
    return Artifact(
        path=str(job.path),
        format=job.format,
        network=identify(network),
        runtime=exporter.runtime,
        precision=job.precision,
        layout=exporter.camera_layout if form.bake else exporter.layout,
        input_shape=network.input_shape,
        dynamic_batch=exporter.dynamic_batch,
        size_bytes=count_bytes(job.path),
        sha256=sha256(job.path),
        exporter=version,
        seconds=time.perf_counter() - started,
        needs=_read_needs(job.path),
        input=form.input,
        baked=form.bake,
        softmax=form.softmax,
    )


def _read_needs(path: Path) -> Mapping[str, str]:
    """What the file itself says of the oldest runtime; nothing where no reader of ours can tell."""
    try:
        return read_report(path).needs
    except (InputError, MissingDependency):
        return {}

"""One network, one format: convert and write, then run the file against the network. What an export does per format."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError, MissingDependency, NotVerifiable, StorageError
from deploy_prune.exporting.exporters import Exporter
from deploy_prune.exporting.parity.reference import Questions, Reference
from deploy_prune.exporting.parity.verification import verify
from deploy_prune.records import sha256, size_bytes, write_atomic
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Artifact, Parity, Shipment


@dataclass(frozen=True)
class FormatJob:
    """A file to write."""

    format: str
    exporter: Exporter
    path: Path


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
        artifact = _written(questions, job)
    except StorageError:
        raise
    except DeployPruneError as error:
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
        return replace(row, status="failed", reason=str(error))
    if not parity.passed:
        return replace(row, status="failed", parity=parity, reason=_difference(parity))
    return replace(row, status="verified", parity=parity, reason="")


def _written(questions: Questions, job: FormatJob) -> Artifact:
    started = time.perf_counter()
    network, form, exporter = questions.network, questions.form, job.exporter
    version = exporter.version()
    write_atomic(job.path, lambda temporary: exporter.write(network, temporary, form))
    return Artifact(
        path=str(job.path),
        format=job.format,
        size_bytes=size_bytes(job.path),
        sha256=sha256(job.path),
        input_shape=network.input_shape,
        layout=exporter.camera_layout if form.bake else exporter.layout,
        dynamic_batch=exporter.dynamic_batch,
        precision=exporter.precision,
        exporter=version,
        seconds=time.perf_counter() - started,
        input=form.input,
        baked=form.bake,
        softmax=form.softmax,
    )


def _difference(parity: Parity) -> str:
    return (
        f"the file computes something else: relative error {parity.max_error:.1e} (limit {parity.tolerance:.0e}), "
        f"same top-1 on {parity.agreement:.1%} ({parity.detail})"
    )

"""One network, one format: convert, write, run the file against the network. What an export does per format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError, MissingDependency, NotVerifiable, StorageError
from deploy_prune.exporters import Exporter
from deploy_prune.parity import verify
from deploy_prune.records import sha256, size_bytes, write_atomic
from deploy_prune.reference import Reference
from deploy_prune.values import Artifact, Parity, Shipment


@dataclass(frozen=True)
class Job:
    """A file to write."""

    format: str
    exporter: Exporter
    path: Path


def deliver(reference: Reference, job: Job) -> Iterator[Shipment]:
    """The row when the file is written ("exported"), and again when it has been run against the network.

    So a runtime that crashes still leaves the first. A format that fails is a row with its reason.

    Raises:
        StorageError: the file system refuses.
    """
    try:
        artifact = _written(reference, job)
    except StorageError:
        raise
    except DeployPruneError as error:
        yield Shipment(job.format, "failed", reason=str(error))
        return
    row = Shipment(job.format, "exported", artifact, reason="not verified")
    yield row
    yield _checked(row, artifact, reference, job.exporter)


def _written(reference: Reference, job: Job) -> Artifact:
    started = time.perf_counter()
    network, form, exporter = reference.network, reference.form, job.exporter
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


def _checked(row: Shipment, artifact: Artifact, reference: Reference, exporter: Exporter) -> Shipment:
    try:
        runtime = plugins.build("runtimes", exporter.runtime)
        runtime.version()
        parity = verify(reference, artifact, runtime=runtime)
    except (MissingDependency, NotVerifiable) as error:
        return replace(row, reason=f"not verified: {error}")
    except DeployPruneError as error:
        return replace(row, status="failed", reason=str(error))
    if not parity.passed:
        return replace(row, status="failed", parity=parity, reason=_difference(parity))
    return replace(row, status="verified", parity=parity, reason="")


def _difference(parity: Parity) -> str:
    return (
        f"the file computes something else: relative error {parity.max_error:.1e} (limit {parity.tolerance:.0e}), "
        f"same top-1 on {parity.agreement:.1%} ({parity.detail})"
    )

"""The export stage: one network in, one verified file per target format out; a format that fails stops no other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy_prune import plugins
from deploy_prune.errors import DataError, DeployPruneError, MissingDependency, NotVerifiable, StorageError
from deploy_prune.exporters import Exporter
from deploy_prune.parity import Images, verify
from deploy_prune.records import sha256, size_bytes, write_atomic
from deploy_prune.values import Artifact, Network, Parity, Progress, Shipment, quiet

Targets = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Formats, or formats with the options of their exporters: `{"onnx": {"dynamic_batch": True}}`."""


def export(
    network: Network,
    targets: Targets,
    folder: Path,
    *,
    images: Images = None,
    stem: str = "model",
    progress: Progress = quiet,
) -> tuple[Shipment, ...]:
    """Write `folder/stem.SUFFIX` per target, then run each file on its runtime against the network.

    Args:
        network: it is not changed.
        targets: names of exporters, if need be with options.
        folder: made if missing; a file is moved into place only when it is complete.
        images: normalised float images (images, channels, height, width) to verify on; 200 or more say something
            about top-1. None: random inputs alone.
        stem: file name without suffix.
        progress: told after each format.

    Returns:
        One row per target in their order, "verified", "exported" or "failed" with a reason.

    Raises:
        UnknownName: no such target or option; nothing has been written.
        StorageError: the file system refuses.
        DataError: the images do not have the network's input shape.
    """
    exporters = _built(targets)
    rows: list[Shipment] = []
    for name, exporter in exporters.items():
        progress("export", len(rows), len(exporters), name)
        row = _ship(name, exporter, network, folder / f"{stem}{exporter.suffix}")
        rows.append(row if row.artifact is None else _checked(row, row.artifact, network, exporter, images))
    progress("export", len(rows), len(exporters))
    return tuple(rows)


def export_unverified(
    network: Network, targets: Targets, folder: Path, *, stem: str = "model", progress: Progress = quiet
) -> tuple[Shipment, ...]:
    """As `export`, without running the files: rows are "exported" or "failed"."""
    exporters = _built(targets)
    rows: list[Shipment] = []
    for name, exporter in exporters.items():
        progress("export", len(rows), len(exporters), name)
        rows.append(_ship(name, exporter, network, folder / f"{stem}{exporter.suffix}"))
    progress("export", len(rows), len(exporters))
    return tuple(rows)


def _built(targets: Targets) -> dict[str, Exporter]:
    options = targets if isinstance(targets, Mapping) else {name: {} for name in targets}
    return {name: plugins.build("exporters", name, chosen) for name, chosen in options.items()}


def _ship(name: str, exporter: Exporter, network: Network, path: Path) -> Shipment:
    try:
        artifact = _written(name, exporter, network, path)
    except StorageError:
        raise
    except DeployPruneError as error:
        return Shipment(format=name, status="failed", reason=str(error))
    return Shipment(format=name, status="exported", artifact=artifact, reason="not verified")


def _checked(row: Shipment, artifact: Artifact, network: Network, exporter: Exporter, images: Images) -> Shipment:
    try:
        runtime = plugins.build("runtimes", exporter.runtime)
        runtime.version()
        parity = verify(network, artifact, runtime=runtime, images=images)
    except (MissingDependency, NotVerifiable) as error:
        return replace(row, reason=f"not verified: {error}")
    except DataError:  # the images are at fault, not the file
        raise
    except DeployPruneError as error:
        return replace(row, status="failed", reason=str(error))
    if not parity.passed:
        return replace(row, status="failed", parity=parity, reason=_difference(parity))
    return replace(row, status="verified", parity=parity, reason="")


def _written(name: str, exporter: Exporter, network: Network, path: Path) -> Artifact:
    started = time.perf_counter()
    version = exporter.version()
    write_atomic(path, lambda temporary: exporter.write(network, temporary))
    return Artifact(
        path=str(path),
        format=name,
        size_bytes=size_bytes(path),
        sha256=sha256(path),
        input_shape=network.input_shape,
        layout=exporter.layout,
        dynamic_batch=exporter.dynamic_batch,
        precision=exporter.precision,
        exporter=version,
        seconds=time.perf_counter() - started,
    )


def _difference(parity: Parity) -> str:
    return (
        f"the file computes something else: relative error {parity.max_error:.1e} (limit {parity.tolerance:.0e}), "
        f"same top-1 on {parity.agreement:.1%} ({parity.detail})"
    )

"""The dense network's exported files, which rounds and the runs of a front share: written and verified once for all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from deploy_prune.analysis.artifacts import locate
from deploy_prune.exporting.file_bytes import export_bytes
from deploy_prune.records import write_atomic
from deploy_prune.results import ShipResult
from deploy_prune.run_folder import RunFolder
from deploy_prune.values import FP32, Network, Shipment

FILES = "dense-files"
"""The folder of a front, or of a run by itself, that they lie in."""
STAGE = "dense-shipped"


def share_dense_files(base: RunFolder, export: Callable[[Path], tuple[Shipment, ...]]) -> tuple[Shipment, ...]:
    """What became of each format, with the files where they lie in the front's folder; exported if nobody has yet.

    Args:
        base: the folder of the front, or of a run by itself.
        export: exports and verifies the dense network in a folder.

    Raises:
        StorageError: the file system refuses.
    """
    folder = base.path / FILES
    shipped = base.stage(STAGE, ShipResult, lambda: ShipResult(export(folder), ()))
    return tuple(replace(row, artifact=row.artifact and locate(row.artifact, folder)) for row in shipped.dense)


def copy_dense_files(rows: tuple[Shipment, ...], folder: Path) -> tuple[Shipment, ...]:
    """Copy the files to the folder of a round, which has everything that it tells of.

    Raises:
        StorageError: the file system refuses.
    """
    for row in rows:
        if row.artifact:
            source = Path(row.artifact.path)
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            write_atomic(folder / source.name, partial(copy, source))
    return tuple(replace(row, artifact=row.artifact and locate(row.artifact, folder)) for row in rows)


def read_dense_file(rows: tuple[Shipment, ...], network: Network, exporter: str) -> bytes:
    """Read the dense network's file; export it, where it was not exported in that format.

    Args:
        rows: what became of each format.
        network: the dense one.
        exporter: the format.

    Raises:
        ExportFailed: it cannot be exported.
    """
    for row in rows:
        if row.format == exporter and row.status != "failed" and row.artifact and row.artifact.precision == FP32:
            return Path(row.artifact.path).read_bytes()
    return export_bytes(network, exporter)

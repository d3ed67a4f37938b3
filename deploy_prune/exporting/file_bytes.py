"""A network as the bytes of its exported file, for whoever times files that are written one after another."""

from __future__ import annotations

from pathlib import Path

from deploy_prune.errors import ExportFailed
from deploy_prune.exporting.export import export
from deploy_prune.scratch import make_scratch
from deploy_prune.values import Network


def export_bytes(network: Network, exporter: str) -> bytes:
    """Export and verify a network in one format whose files are no folders, and read what was written.

    Raises:
        ExportFailed: it cannot be exported, or the file computes something else; says why in one line.
    """
    with make_scratch() as folder:
        (row,) = export(network, (exporter,), folder)
        if row.status == "failed" or row.artifact is None:
            reason = row.reason.splitlines()[0] if row.reason else "no reason given"
            hint = "name another runtime: other formats may do"
            raise ExportFailed(f"{network.address} cannot be shipped as {exporter}: {reason}", hint=hint)
        return Path(row.artifact.path).read_bytes()

"""What a manifest says of a variant in one format, from the records of its run and from the file itself."""

from __future__ import annotations

from deploy_prune.analysis.gating.counting import count_delegation
from deploy_prune.bundling.manifest import Delegated, Latency, VariantFile
from deploy_prune.bundling.runs import BundledFile
from deploy_prune.errors import DeployPruneError
from deploy_prune.values import Artifact, Measurement


def describe_file(file: BundledFile, path: str) -> VariantFile:
    """Describe a variant's file.

    Args:
        file: of its run.
        path: where it lies in the bundle.
    """
    artifact = file.artifact
    assert artifact.layout
    return VariantFile(
        path=path,
        format=artifact.format,
        runtime=artifact.runtime,
        precision=artifact.precision,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        layout=artifact.layout,
        takes="uint8" if artifact.input == "uint8" else "float32",
        baked=artifact.baked,
        gives="probabilities" if artifact.softmax else "scores",
        needs=dict(artifact.needs),
        tolerance=file.parity.tolerance,
        max_error=file.parity.max_error,
        delegated=count_delegates(artifact),
        latency=tuple(map(_describe_latency, file.measurements)),
    )


def _describe_latency(taken: Measurement) -> Latency:
    around = taken.after
    return Latency(
        taken.target.device, taken.target.runtime_version, taken.target.threads, taken.median, taken.interval,
        taken.unit, around.load, around.frequency_mhz, around.governor, around.temperature_c,
    )  # fmt: skip


def count_delegates(artifact: Artifact) -> Delegated | None:
    """Count the operators that a delegate takes; None: its runtime has none that says so, or is not here."""
    try:
        counted = count_delegation(artifact)
    except DeployPruneError:  # the figure is for information
        return None
    return Delegated("XNNPACK", counted.taken, counted.operators, counted.partitions)

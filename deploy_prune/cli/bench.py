"""`deploy-prune bench`: time exported files against each other, in turns on the same cores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import Json, Threads, integers
from deploy_prune.cli.output import progress, show_json, show_table

if TYPE_CHECKING:
    from deploy_prune.values import Measurement

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Exported files; ratios are to the first.")]


def bench(files: Files, threads: Threads = "1", as_json: Json = False) -> None:
    """Time exported files on this machine.

    The files take turns on the same cores; ratios are to the first file that runs the same way.
    """
    counts = integers("--threads", threads) or (1,)
    from deploy_prune.measure import bench as time_files

    with progress(as_json=as_json) as told:
        measurements = time_files(files, threads=counts, progress=told)
    if as_json:
        show_json(measurements=measurements)
    else:
        show_measurements(measurements)


def show_measurements(measurements: tuple[Measurement, ...]) -> None:
    """One row per file and thread count."""
    columns = ("file", "runtime", "threads", "median ms", "95 %", "p90 ms", "ratio", "95 %", "load ms", "peak MB")
    show_table("Time of one inference", columns, [_row(measurement) for measurement in measurements])


def _row(measurement: Measurement) -> tuple[str, ...]:
    target, interval = measurement.target, measurement.ratio_interval
    low_ms, high_ms = measurement.interval_ms
    return (
        measurement.artifact,
        f"{target.runtime} {target.runtime_version}",
        str(target.threads),
        f"{measurement.median_ms:.3f}",
        f"{low_ms:.3f} ... {high_ms:.3f}",
        f"{measurement.p90_ms:.3f}",
        "-" if measurement.ratio is None else f"{measurement.ratio:.3f}",
        "-" if interval is None else f"{interval[0]:.3f} ... {interval[1]:.3f}",
        f"{measurement.load_ms:.1f}",
        f"{measurement.peak_memory_bytes / 1e6:.0f}",
    )

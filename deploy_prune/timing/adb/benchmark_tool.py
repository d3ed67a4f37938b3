"""Reads what the official `benchmark_model` (TFLite) and `benchmark_litert_model` (LiteRT) print, old ones and new."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy_prune.errors import Unavailable, WorkerDied

PREFIX = re.compile(r"^(?:.*?\b[IWE]\s+\S+\s*:\s+)?(?:INFO|WARN|ERROR): ?", re.MULTILINE)
"""What stands before a line: a level, and before that what logcat adds; the oldest tools print neither."""
NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
COUNT = re.compile(r"^count=(\d+)(.*)$", re.MULTILINE)
FIELD = re.compile(rf"(\w+)=({NUMBER})")
TIMINGS = re.compile(r"^(?:Average )?inference timings in us: (.*)$", re.MULTILINE | re.IGNORECASE)
TIMING = re.compile(rf"([A-Za-z][A-Za-z ()]*): ({NUMBER})")
LITERT = re.compile(rf"^(Model initialization|Inference \(\w+\)|Peak memory): +({NUMBER})", re.M)
PEAK = re.compile(rf"^Overall peak memory footprint \(MB\) via periodic monitoring: ({NUMBER})", re.MULTILINE)
COUNT_FIELDS = {"curr": "mean", "avg": "mean", "median": "median", "min": "min", "max": "max"}
"""The fields of a `count=` line, in microseconds; the later of two that mean the same counts."""
TIMING_LABELS = {"no stats": "mean", "Inference": "mean", "Inference (avg)": "mean", "Init": "load"}
LITERT_LABELS = {
    "Inference (avg)": "mean", "Inference (median)": "median", "Inference (min)": "min", "Inference (max)": "max",
    "Model initialization": "load", "Peak memory": "peak_mb",
}  # fmt: skip
FAILED = re.compile(r"^(Benchmarking failed\.?|Disallowed CPU fallback detected\.?)", re.MULTILINE)
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class ToolTimes:
    """What a tool measured; None: it does not tell."""

    mean_ms: float
    """The mean of the inferences that were timed, in milliseconds."""
    median_ms: float | None
    """Their median, in milliseconds."""
    least_ms: float | None
    """The fastest of them, in milliseconds."""
    most_ms: float | None
    """The slowest of them, in milliseconds."""
    load_ms: float | None
    """What opening the file took, in milliseconds."""
    peak_memory_bytes: int | None
    """The largest memory of the tool, in bytes."""

    @property
    def statistics_ms(self) -> tuple[float, ...]:
        """The fastest, the median (the mean, where that is not told) and the slowest, as far as they are told."""
        middle = self.mean_ms if self.median_ms is None else self.median_ms
        return tuple(value for value in (self.least_ms, middle, self.most_ms) if value is not None)


def read_tool(text: str, tool: str) -> ToolTimes:
    """Read what a tool has printed to stdout and stderr; `tool` is its name, for errors.

    The second `count=` line is the measurement, the first the warm-up.

    Raises:
        WorkerDied: it says that it failed; Unavailable: it tells no times.
    """
    lines = PREFIX.sub("", text.replace("\r\n", "\n"))
    if failed := FAILED.search(lines):
        raise WorkerDied(f"{tool} failed: {failed[1]}", hint="run it by hand: what it prints before says why")
    told = _read_lines(lines)
    if "mean" not in told or told.get("inferences") == 0:
        last = (lines.strip().splitlines() or ["nothing"])[-1]
        raise Unavailable(f"{tool} tells no times; its last words: {last[:200]}", hint="run it by hand on the device")
    return ToolTimes(
        mean_ms=told["mean"],
        median_ms=told.get("median"),
        least_ms=told.get("min"),
        most_ms=told.get("max"),
        load_ms=told.get("load"),
        peak_memory_bytes=round(told["peak_mb"] * MEGABYTE) if "peak_mb" in told else None,
    )


def _read_lines(lines: str) -> dict[str, float]:
    """What lines tell, in ms, megabytes and numbers of inferences; where several tell it, the most exact of them."""
    told = {LITERT_LABELS[label]: float(value) for label, value in LITERT.findall(lines) if label in LITERT_LABELS}
    timings = {label.strip(): value for line in TIMINGS.findall(lines) for label, value in TIMING.findall(line)}
    told |= {key: float(timings[label]) / 1000 for label, key in TIMING_LABELS.items() if label in timings}
    if peak := PEAK.search(lines):
        told["peak_mb"] = float(peak[1])
    counted = [(int(match[1]), dict(FIELD.findall(match[2]))) for match in COUNT.finditer(lines)]
    if len(counted) > 1:
        inferences, fields = counted[1]
        told["inferences"] = inferences
        told |= {key: float(fields[name]) / 1000 for name, key in COUNT_FIELDS.items() if name in fields}
    return told

"""A finished run that is made by hand: a pruned network in two formats, faster than the dense one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deploy_prune import results  # pytest takes an imported `TestResult` for a test
from deploy_prune.analysis.report import SUMMARY, report
from deploy_prune.records import write_record
from deploy_prune.results import BenchResult, CutResult, DenseResult, PlanResult, RunSummary, ShipResult, TrainResult
from deploy_prune.values import (
    Artifact,
    Conditions,
    Count,
    GroupRow,
    Interval,
    Measurement,
    NetworkIdentity,
    Parity,
    Plan,
    Quality,
    Shipment,
    Target,
)

NOW = Conditions(load=0.1, frequency_mhz=None, governor=None, temperature_c=None, affinity=(0,))


def top1(value: float, interval: Interval) -> Quality:
    return Quality("top-1", value, interval, items=400, loss=0.5)


def file(stem: str, size_bytes: int, suffix: str) -> Artifact:
    return Artifact(
        path=f"elsewhere/{stem}.{suffix}", format=suffix, network=NetworkIdentity("net", digest=stem),
        runtime="onnxruntime" if suffix == "onnx" else "litert", size_bytes=size_bytes, sha256="0",
        input_shape=(3, 32, 32), layout="nhwc", dynamic_batch=False, precision="fp32", exporter="litert-torch 0.10",
        seconds=1.0,
    )  # fmt: skip


def shipped(stem: str, size_bytes: int, *, ties: int = 0, suffix: str = "tflite") -> Shipment:
    parity = Parity(passed=True, max_error=1.8e-6, tolerance=1e-4, agreement=1.0, ties=ties, images=256)
    return Shipment(suffix, "verified", file(stem, size_bytes, suffix), parity)


def timed(stem: str, median_ms: float, ratio: float | None, interval: Interval | None) -> Measurement:
    return Measurement(
        artifact=f"elsewhere/{stem}.tflite", target=Target("local", "litert", "2.3.0", 1, "fp32"), session="s",
        unit="ms", blocks=((median_ms,),), median=median_ms, interval=(0.99 * median_ms, 1.01 * median_ms),
        p90=median_ms, load_ms=1.0, peak_memory_bytes=1, runtime_memory_bytes=1, before=NOW, after=NOW,
        ratio=ratio, ratio_interval=interval,
    )  # fmt: skip


def as_onnx(item: Measurement, format_ratio: float, interval: Interval) -> Measurement:
    """The same network's measurement in a second format."""
    return dataclasses.replace(
        item, artifact=item.artifact.replace(".tflite", ".onnx"), format_base=item.artifact,
        target=Target("local", "onnxruntime", "1.31.1", 1, "fp32"), format_ratio=format_ratio,
        format_ratio_interval=interval,
    )  # fmt: skip


PLAN = Plan(
    "net", {"stem": (0, 2), "body": (1, 2, 3)}, "0.5x", asked=500_000, reached=400_000, dense=10**6, cost="macs"
)
GROUPS = (
    GroupRow("stem", 4, 2, 1, None),
    GroupRow("body", 6, 3, 8, None),
    GroupRow("fc", 10, 10, 1, "model output"),
    GroupRow("odd", 3, 3, 1, "a | in its reason"),
)
DENSE = Count(macs=1_000_000, fvcore_total=1_050_000, params=50_000, not_counted=("aten::add",))
CUT = Count(macs=400_000, fvcore_total=430_000, params=20_000, not_counted=("aten::add",))
TIMES = (
    timed("dense", 2.0, None, None),
    timed("pruned", 1.0, 0.5, (0.48, 0.52)),
    as_onnx(timed("dense", 2.5, None, None), 1.25, (1.2, 1.3)),
    as_onnx(timed("pruned", 1.01, 0.404, (0.4, 0.41)), 1.01, (0.98, 1.04)),
)
RUN = RunSummary(
    dense=DenseResult(DENSE, top1(0.9, (0.88, 0.92)), "weights.safetensors", 1.0),
    plan=PlanResult(PLAN, "magnitude", GROUPS, 1.0),
    cut=CutResult(CUT, 400_000, top1(0.4, (0.35, 0.45)), top1(0.6, (0.55, 0.65))),
    trained=TrainResult(top1(0.89, (0.87, 0.91)), 8, 60.0),
    test=results.TestResult(top1(0.9, (0.87, 0.93)), top1(0.89, (0.86, 0.92)), -0.01, (-0.03, 0.01)),
    ship=ShipResult(
        (shipped("dense", 4_000_000), shipped("dense", 4_100_000, suffix="onnx")),
        (shipped("pruned", 2_000_000, ties=1), shipped("pruned", 2_100_000, suffix="onnx")),
    ),
    bench=BenchResult(TIMES),
)


def page(summary: RunSummary, folder: Path) -> str:
    """The report of a run, whose records are written into a folder."""
    write_record(folder / "run.json", {"model": "net.py:build", "data": "digits"}, dict)
    write_record(folder / SUMMARY, summary)
    return report(folder)


def slower() -> RunSummary:
    """The same run with a file that is slower than the dense one."""
    return dataclasses.replace(RUN, bench=BenchResult((timed("pruned", 2.2, 1.1, (1.05, 1.15)),)))

"""Whatever times files does so on a device that is made up as well, and says what that device says."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.analysis.bench import bench
from deploy_prune.analysis.explain import explain
from deploy_prune.budget.latency.timer import timer
from deploy_prune.errors import UnitError
from deploy_prune.timing.devices import target_on
from deploy_prune.timing.fake_device import FakeDevice


def by_size(path: Path) -> float:
    return float(path.stat().st_size)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, size in (("one", 10), ("two", 25)):
        (tmp_path / f"{name}.onnx").write_bytes(bytes(size))
    return [tmp_path / "one.onnx", tmp_path / "two.onnx"]


def test_bench_says_what_the_device_says(files: list[Path]) -> None:
    one, two = bench(files, threads=(2,), blocks=3, device=FakeDevice(by_size, unit="cycles", fingerprint="a chip"))
    assert (one.median, one.unit, one.target.device, one.target.threads) == (10.0, "cycles", "a chip", 2)
    assert (two.ratio, two.ratio_interval, two.unit) == (2.5, (2.5, 2.5), "cycles")
    assert two.before.affinity == (0, 1)


def test_files_that_are_written_one_by_one_are_timed_on_the_device_that_is_given() -> None:
    device = FakeDevice(by_size)
    with timer(bytes(8), ".onnx", target_on(device, "onnxruntime"), device=device) as timed:
        assert timed(bytes(4)).ratio == 0.5
        assert timed(bytes(16)).ratio == 2.0


def test_a_worker_that_counts_in_another_unit_is_never_held_against_the_first(files: list[Path]) -> None:
    units = iter(["ms", "cycles"])

    class Mixed(FakeDevice):
        def start(self, job):
            return FakeDevice(by_size, unit=next(units)).start(job)

    with pytest.raises(UnitError, match="figures in ms and in cycles"):
        bench(files, blocks=3, device=Mixed(by_size))


def test_explain_runs_files_on_the_device_that_is_given(tiny_onnx: Path) -> None:
    """A device without a profiler: the operators are timed alone, there as well."""
    device = FakeDevice(lambda path: 3.0 if path == tiny_onnx else 1.0, fingerprint="a chip")
    (found,) = explain(tiny_onnx, tiny_onnx, threads=2, device=device)
    assert (found.target.device, found.target.threads, found.target.precision) == ("a chip", 2, "fp32")
    assert (found.before_ms, found.after_ms, found.ratio) == (3.0, 3.0, 1.0)
    assert found.source.startswith("one-operator files")

"""A simulated core has a unit of its own, counts exactly, and says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated import needs_llvm, needs_qemu, needs_simulator

from deploy_prune.analysis.bench import bench
from deploy_prune.errors import ConfigError, InputError, Unavailable, UnknownName
from deploy_prune.timing.devices import Job, device_at
from deploy_prune.timing.devices.sim import Sim

ADDRESS = "sim://cortex-a72"


def test_what_is_counted_has_a_unit_of_its_own_and_is_exact() -> None:
    cycles, instructions = device_at(ADDRESS), device_at("sim://cortex-a53/instructions")
    assert cycles.unit == "simulated Cortex-A72 cycles"
    assert instructions.unit == "simulated Cortex-A53 instructions"
    assert cycles.exact and instructions.exact


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sim://cortex-a9", "no core 'cortex-a9' can be simulated"),
        ("sim://", "no core '' can be simulated"),
        ("sim://cortex-a72/ms", "a simulated core counts cycles or instructions, not 'ms'"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(address: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        device_at(address)


def test_only_runtimes_with_a_wheel_for_it_have_a_version() -> None:
    assert device_at(ADDRESS).runtime_version("litert") == "2.3.0"
    with pytest.raises(Unavailable, match="coreml is not simulated"):
        device_at(ADDRESS).runtime_version("coreml")
    with pytest.raises(UnknownName):
        device_at(ADDRESS).runtime_version("tensorrt")


@needs_qemu
@needs_llvm
def test_the_versions_of_what_simulates_it_are_in_its_name() -> None:
    assert device_at(ADDRESS).fingerprint.startswith("simulated Cortex-A72 (cycles; QEMU ")
    assert "LLVM" not in device_at(f"{ADDRESS}/instructions").fingerprint


def test_threads_are_not_counted(tmp_path: Path) -> None:
    job = Job(tmp_path / "net.tflite", "litert", 2, (0,), seed=0)
    with pytest.raises(ConfigError, match="2 threads cannot be counted"), device_at(ADDRESS).start(job):
        pass


@needs_qemu
@needs_llvm
def test_a_simulator_that_is_not_set_up_is_no_crash(tmp_path: Path) -> None:
    job = Job(tmp_path / "net.tflite", "litert", 1, (0,), seed=0)
    with pytest.raises(Unavailable, match="the simulator is not set up"), Sim(folder=tmp_path).start(job):
        pass


@needs_simulator
@pytest.mark.slow
@pytest.mark.ci
class TestCounting:
    """The real emulator, with a network of some thousand multiply-adds."""

    def count(self, path: Path, runtime: str, address: str = ADDRESS) -> float:
        device = device_at(address)
        with device.start(Job(path, runtime, 1, device.cores(1), seed=0)) as worker:
            first, again = worker.block(1, timeout_s=60), worker.open(path).block(2, timeout_s=60)
        assert first.samples * 2 == again.samples
        assert first.unit == device.unit
        return first.samples[0]

    def test_two_processes_count_the_same_but_for_some_hundred_cycles(self, tiny_tflite: Path) -> None:
        """The system's own share of a call, such as a wait for a lock, may differ where the host is busy."""
        one, other = (self.count(tiny_tflite, "litert") for _ in range(2))
        assert one == pytest.approx(other, rel=0, abs=500)

    def test_a_runtime_with_a_thread_that_polls_counts_nearly_the_same(self, tiny_onnx: Path) -> None:
        one, other = (self.count(tiny_onnx, "onnxruntime") for _ in range(2))
        assert one == pytest.approx(other, rel=1e-3)

    def test_cores_have_kernels_of_their_own(self, tiny_tflite: Path) -> None:
        counts = {
            self.count(tiny_tflite, "litert", f"sim://{core}/instructions") for core in ("cortex-a53", "cortex-x1")
        }
        assert len(counts) == 2

    def test_a_broken_file_is_the_files_fault_and_the_emulator_goes_on(self, tiny_onnx: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"no protobuf at all")
        device = device_at(ADDRESS)
        with device.start(Job(tiny_onnx, "onnxruntime", 1, (0,), seed=0)) as worker:
            with pytest.raises(InputError, match=r"broken.onnx"):
                worker.open(broken)
            assert worker.open(tiny_onnx).block(1, timeout_s=60).samples[0] > 0

    def test_files_are_compared_in_the_cores_unit_without_noise(self, tiny_tflite: Path) -> None:
        one, other = bench([tiny_tflite, tiny_tflite], device=device_at(ADDRESS))
        assert one.unit == other.unit == "simulated Cortex-A72 cycles"
        assert other.ratio == 1.0
        assert other.ratio_interval == (1.0, 1.0)
        assert one.interval == (one.median, one.median)

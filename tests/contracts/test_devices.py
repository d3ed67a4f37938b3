"""What every device promises: a worker per file, blocks as long as asked for, and words about itself that agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated import needs_simulator

from deploy_prune import plugins
from deploy_prune.errors import InputError, UnknownName
from deploy_prune.timing.devices import DEVICES, THIS_MACHINE, Device, Job, device_at
from deploy_prune.timing.fake_device import FakeDevice

ADDRESSES = {"local": THIS_MACHINE, "sim": "sim://cortex-a72"}
"""Plugin -> an address of it that is reached where tests run; those of ssh and adb are of servers that tests start."""


def made_up(path: Path) -> float:
    """Milliseconds; a fake device reads its files as a real one does."""
    if not path.read_bytes().startswith(b"\x08"):
        raise InputError(f"{path} is no ONNX file")
    return 1.0


SERVED = {"ssh": "board", "adb": "ready_android"}
"""Plugin -> the fixture that starts such a device."""
MARKS = {"sim": (pytest.mark.slow, pytest.mark.ci, needs_simulator), "adb": (pytest.mark.slow, pytest.mark.ci)}
"""Plugin -> why it is not always asked."""


@pytest.fixture(
    params=[*(pytest.param(name, marks=MARKS.get(name, ())) for name in plugins.list_names(DEVICES)), "fake"]
)
def device(request: pytest.FixtureRequest) -> Device:
    if request.param in SERVED:
        return device_at(request.getfixturevalue(SERVED[request.param]).address)
    return FakeDevice(made_up) if request.param == "fake" else device_at(ADDRESSES[request.param])


def job(path: Path, device: Device) -> Job:
    return Job(path, "onnxruntime", 1, device.cores(1), seed=0)


@pytest.mark.heavy
def test_a_block_has_as_many_samples_as_were_asked_for(device: Device, tiny_onnx: Path) -> None:
    with device.start(job(tiny_onnx, device)) as worker:
        one, many = worker.block(1, timeout_s=60), worker.block(7, timeout_s=60)
    assert (len(one.samples), len(many.samples)) == (1, 7)
    assert one.unit == many.unit != ""
    assert min(*one.samples, *many.samples) > 0
    assert many.peak_memory_bytes >= worker.runtime_memory_bytes > 0


def test_a_worker_says_which_file_it_holds_and_what_runs_it(device: Device, tiny_onnx: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_onnx.read_bytes())
    with device.start(job(tiny_onnx, device)) as worker:
        assert worker.job.path == tiny_onnx
        assert worker.version == device.runtime_version("onnxruntime")
        second = worker.open(other)
        assert second.job.path == other
        assert len(second.block(2, timeout_s=60).samples) == 2


def test_what_is_no_file_of_the_runtime_is_refused(device: Device, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no protobuf at all")
    with pytest.raises(InputError), device.start(job(broken, device)) as worker:
        worker.block(1, timeout_s=60)


def test_it_knows_its_cores_and_names_itself_twice_alike(device: Device) -> None:
    about = device.describe()
    assert device.fingerprint == f"{about.processor}, {about.architecture}, {about.system}"
    assert len(device.cores(10_000)) == about.cores
    assert device.cores(1) == device.cores(10_000)[:1]
    assert device.conditions(device.cores(1)).affinity == device.cores(1)


def test_only_a_runtime_that_there_is_has_a_version(device: Device) -> None:
    assert device.runtime_version("onnxruntime")
    if not isinstance(device, FakeDevice):  # on which every runtime there could be is installed
        with pytest.raises(UnknownName):
            device.runtime_version("tensorrt")

"""The real adb and a phone that is made up: what it tells, what is pushed and refused, and what outlasts a cut."""

from __future__ import annotations

import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import phones
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phones import DUMPS, MadeUpPhone

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, ConnectionLost, StorageError, Unavailable, WorkerDied
from deploy_prune.records import sha256
from deploy_prune.timing.adb.benchmark_tool import read_tool
from deploy_prune.timing.adb.bundle import LEFT_OUT, Bundle, pack_system
from deploy_prune.timing.adb.phone import Phone, describe_snapshot, read_snapshot_conditions
from deploy_prune.timing.adb.refusals import explain_refusal, is_fault
from deploy_prune.timing.adb.setup import push_bundle
from deploy_prune.timing.adb.snapshot import BOUNDARY, read_snapshot
from deploy_prune.timing.adb.thermal import Battery, read_battery, read_status, read_temperature_c, write_status
from deploy_prune.timing.arm64.system import SITE, SYSTEM
from deploy_prune.timing.devices import Device, Job, device_at
from deploy_prune.timing.runtimes import RUNTIMES

CALLED = "/data/local/tmp/called"
"""Where a tool that is made up writes down, on the phone, what it was called with."""
PHONE = """\
/proc/cpuinfo:processor\t: 0
/proc/cpuinfo:CPU implementer\t: 0x41
/proc/cpuinfo:CPU part\t: 0xd05
/proc/cpuinfo:Features\t: fp asimd atomics asimddp
/proc/cpuinfo:
/proc/cpuinfo:processor\t: 1
/proc/cpuinfo:CPU implementer\t: 0x41
/proc/cpuinfo:CPU part\t: 0xd44
/proc/cpuinfo:Features\t: fp asimd atomics asimddp asimdhp
/proc/meminfo:MemTotal:        7654321 kB
/proc/loadavg:3.50 3.1 2.9 2/1900 4711
/sys/devices/system/cpu/online:0-1
/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:1800000
/sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq:2800000
/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq:2100000
/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor:sched_pixel
/sys/class/thermal/thermal_zone0/type:cpu-big
/sys/class/thermal/thermal_zone0/temp:41000
=== deploy-prune: properties
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 6]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.soc.manufacturer]: [Google]
[ro.soc.model]: [Tensor]
[ro.build.version.release]: [14]
=== deploy-prune: thermal
"""


def job(path: Path, device: Device, runtime: str = "onnxruntime") -> Job:
    return Job(path, runtime, 1, device.cores(1), seed=0)


@pytest.fixture
def own_android(tmp_path: Path) -> Iterator[MadeUpPhone]:
    """A phone that a test may spoil."""
    if phones.MISSING:
        pytest.skip(phones.MISSING)
    with phones.serve(tmp_path) as served:
        yield served


@pytest.mark.parametrize(
    "text", ["-s", "a b", "x;reboot", "$(id)", "`id`", "x\n", "a'b", "../x", "serial|sh", "-P5555"]
)
def test_what_adb_or_a_shell_could_take_for_something_else_is_no_serial(text: str) -> None:
    with pytest.raises(ConfigError, match="names no device of adb"):
        device_at(f"adb://{text}")


@pytest.mark.parametrize(
    "text", ["R5CT20ABCDE", "emulator-5554", "192.168.1.7:5555", "adb-1A-bC._adb-tls-connect._tcp"]
)
def test_every_kind_of_serial_is_one(text: str) -> None:
    assert device_at(f"adb://{text}").list_attached is not None


def test_a_phone_is_what_it_tells_about_itself() -> None:
    about = describe_snapshot(read_snapshot(PHONE))
    assert about.processor == "Google Pixel 6, Google Tensor (1x Cortex-X1, 1x Cortex-A55)"
    assert (about.architecture, about.system, about.release) == ("aarch64", "Android", "Android 14")
    assert [(each.name, each.cores, each.max_mhz) for each in about.classes] == [
        ("Cortex-X1", (1,), 2800.0), ("Cortex-A55", (0,), 1800.0),
    ]  # fmt: skip
    assert about.features == ("atomics", "asimddp") and about.memory_bytes == 7654321 * 1024


def test_conditions_are_those_of_the_sensors_that_say_most() -> None:
    told = read_snapshot_conditions(read_snapshot(PHONE), (1,))
    assert (told.load, told.frequency_mhz, told.governor, told.temperature_c) == (3.5, 2100.0, "sched_pixel", 41.0)
    assert told.throttled is None and told.affinity == (1,)
    hot = read_snapshot_conditions(read_snapshot(PHONE + (DUMPS / "thermalservice-hot.txt").read_text()), (1,))
    assert (hot.temperature_c, hot.throttled) == (44.25, "thermal status 2 (moderate)")


def test_heat_is_what_sensors_say_now_and_not_what_was_cached() -> None:
    cool, hot = ((DUMPS / f"thermalservice-{name}.txt").read_text() for name in ("cool", "hot"))
    assert (read_status(cool), read_temperature_c(cool)) == (0, 38.9)
    assert (read_status(hot), read_temperature_c(hot)) == (2, 44.25)
    assert (read_status(""), read_temperature_c(cool.partition("Current temperatures")[0])) == (None, None)
    assert write_status(9) == "thermal status 9 (unknown)"


def test_a_battery_is_read_in_degrees() -> None:
    assert read_battery((DUMPS / "battery.txt").read_text()) == Battery(84, 30.1)
    assert read_battery("Can't find service: battery") == Battery(None, None)


@given(st.text(), st.sampled_from(["/proc/cpuinfo:", "/sys/../etc/passwd:", BOUNDARY + "thermal\n", "/proc/loadavg:"]))
def test_whatever_a_device_answers_is_read_or_passed_over(text: str, head: str) -> None:
    """Garbled and hostile answers end in no exception of ours, and write nothing outside of the folder."""
    snapshot = read_snapshot(f"{head}{text}\n{PHONE}{text}")
    assert not any(".." in path for path in snapshot.files)
    assert describe_snapshot(snapshot).system == "Android"
    assert read_snapshot_conditions(snapshot, (0,)).affinity == (0,)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("adb: no devices/emulators found", "no device is attached to adb"),
        ("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "has not allowed this machine"),
        ("error: device offline", "does not answer"),
        ("adb: more than one device/emulator", "several devices are attached"),
        ("error: device 'x' not found", "adb://x is not attached to adb"),
        ("adb: insufficient permissions for device: user in plugdev group; are your udev rules wrong?", "may not open"),
        ("* daemon not running; starting now\ncannot connect to daemon", "the server of adb does not start"),
        ("something new in adb 99", "adb does not reach adb://x: something new in adb 99"),
    ],
)
def test_what_adb_says_becomes_what_to_do(said: str, told: str) -> None:
    error = explain_refusal("adb://x", said)
    assert told in error.message and error.hint and not isinstance(error, ConnectionLost)


def test_a_device_that_was_there_and_is_gone_is_waited_for() -> None:
    assert isinstance(explain_refusal("adb://x", "error: device 'x' not found", reached=True), ConnectionLost)
    assert not isinstance(explain_refusal("adb://x", "error: device unauthorized", reached=True), ConnectionLost)


def test_what_a_program_there_says_is_not_taken_for_the_words_of_adb() -> None:
    assert is_fault(1, "error: device 'x' not found") and is_fault(1, "adb: device 'x' not found") and is_fault(255, "")
    assert not is_fault(1, "error: no such option") and not is_fault(0, "error: device offline")


def test_an_archive_is_the_same_for_the_same_system_and_leaves_out_what_no_file_needs(tmp_path: Path) -> None:
    library = tmp_path / SYSTEM / "usr" / "lib" / "python3.11"
    for path in (
        tmp_path / SYSTEM / "usr" / "bin" / "python3.11", library / "os.py", library / "test" / "big.py",
        tmp_path / SYSTEM / "lib" / "aarch64-linux-gnu" / "libz.so.1.2.13", tmp_path / SITE / "numpy" / "__init__.py",
        tmp_path / SITE / "onnxruntime" / "transformers" / "big.py",
    ):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (library.parents[1] / "bin" / "python3").symlink_to("python3.11")
    (tmp_path / SYSTEM / "lib" / "aarch64-linux-gnu" / "libz.so.1").symlink_to("libz.so.1.2.13")
    for name in ("one", "two"):
        pack_system(tmp_path, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as packed:
        assert packed.getnames() == [
            "python", "lib/libz.so.1", "usr/bin/python3", "usr/lib/python3.11/os.py",
            "usr/lib/python3/dist-packages/numpy/__init__.py",
        ]  # fmt: skip
        assert all(member.isreg() for member in packed), "links are left to no file system of a device"
    assert "test" in LEFT_OUT["usr/lib"]


def printed(name: str) -> str:
    return (Path(__file__).parent / "benchmark_model" / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "statistics_ms", "load_ms", "memory_mb"),
    [
        ("tflite-new", (4.1, 4.19, 4.6), 12.345, 22.5),
        ("tflite-old", (78.5, 79.7609, 1687.92), 38.467, None),
        ("tflite-oldest", (79.7609,), 38.467, None),
        ("same", (4.123,), None, None),
        ("litert", (4.1, 4.19, 4.6), 12.34, 22.5),
        ("logcat", (4.1, 4.19, 4.6), None, None),
    ],
)
def test_the_official_tools_of_every_age_are_read(
    name: str, statistics_ms: tuple[float, ...], load_ms: float | None, memory_mb: float | None
) -> None:
    times = read_tool(printed(name), "benchmark_model")
    assert times.statistics_ms == pytest.approx(statistics_ms)
    assert times.load_ms == load_ms
    assert times.peak_memory_bytes == (None if memory_mb is None else memory_mb * 2**20)


def test_a_tool_that_failed_or_tells_nothing_is_an_error() -> None:
    with pytest.raises(WorkerDied, match="Benchmarking failed"):
        read_tool(printed("failed"), "benchmark_model")
    for text in ("", "count=0\ncount=0", "no times at all", printed("tflite-new")[:600]):
        with pytest.raises(Unavailable, match="tells no times"):
            read_tool(text, "benchmark_model")


@pytest.mark.heavy
def test_a_file_is_timed_with_the_tool_that_the_user_points_to(
    own_android: MadeUpPhone, tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    """The tool is made up: it prints what the real one prints, and writes down what it was called with."""
    tool = tmp_path / "benchmark_model"
    tool.write_text(f"#!/system/bin/sh\necho \"$@\" >> {CALLED}\ncat <<'END'\n{printed('tflite-new')}END\n")
    device = device_at(f"adb://{own_android.serial}?benchmark_model={tool}")
    with device.start(job(tiny_tflite, device, "litert")) as worker:
        block = worker.block(7, timeout_s=60)
        assert block.samples == pytest.approx((4.1, 4.19, 4.6)) and block.peak_memory_bytes == 22.5 * 2**20
        assert worker.version == device.runtime_version("litert") and worker.version.startswith("benchmark_model ")
        with pytest.raises(Unavailable, match="computes nothing on given inputs"):
            worker.run(timeout_s=60)
        called = (own_android.root / CALLED.lstrip("/")).read_text().splitlines()
        assert "--num_runs=7" in called[-1] and "--num_threads=1" in called[-1]
    assert [name.partition("-")[0] for name in own_android.list_files()] == ["tool"]
    with pytest.raises(ConfigError, match="runs no files of onnxruntime"), device.start(job(tiny_onnx, device)):
        pass


@pytest.mark.heavy
def test_a_phone_is_described_with_nothing_of_ours_on_it(android: MadeUpPhone) -> None:
    device = device_at(android.address)
    about = device.describe()
    assert about.processor.startswith("Nobody Made Up, Nobody N1 (") and "Cortex-A76" in about.processor
    assert about.runtimes == {} and about.python == ""
    assert any("--setup" in each for each in device.advise())
    with pytest.raises(Unavailable, match=r"nothing on adb://.* runs files yet"):
        device.runtime_version("onnxruntime")
    assert android.list_files() == []


@pytest.mark.heavy
def test_the_only_device_that_is_attached_need_not_be_named(
    android: MadeUpPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    android.run_adb("connect", android.serial)
    device = device_at("adb://")
    assert device.list_attached() == (f"adb://{android.serial}",)
    assert device.describe() == device_at(android.address).describe()
    monkeypatch.setenv("ANDROID_SERIAL", "another")
    with pytest.raises(Unavailable, match="adb://another is not attached"):
        device_at("adb://").describe()


@pytest.mark.heavy
def test_a_device_that_has_not_started_is_refused_at_once(own_android: MadeUpPhone) -> None:
    own_android.stop()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="is not attached to adb"):
        device_at(own_android.address).describe()
    assert time.monotonic() - began < 20, "one that was never there is not waited for"


@pytest.mark.heavy
def test_heat_and_an_empty_battery_are_told(own_android: MadeUpPhone) -> None:
    device = device_at(own_android.address)
    assert device.conditions().throttled == "thermal status 0 (none)"
    own_android.say("thermalservice", (DUMPS / "thermalservice-hot.txt").read_text())
    own_android.say("battery", (DUMPS / "battery.txt").read_text().replace("level: 84", "level: 7"))
    advice = " ".join(device.advise())
    assert "it is hot (thermal status 2 (moderate))" in advice and "its battery is at 7 %" in advice


@pytest.mark.slow
@pytest.mark.ci
def test_what_was_pushed_computes_what_is_computed_here(
    ready_android: MadeUpPhone, tiny_onnx: Path, tiny_tflite: Path
) -> None:
    device = device_at(ready_android.address)
    assert set(device.describe().runtimes) == {"litert", "onnxruntime"}
    for path, runtime in ((tiny_onnx, "onnxruntime"), (tiny_tflite, "litert")):
        session = plugins.build(RUNTIMES, runtime).open(path, threads=1)
        image = np.random.default_rng(0).standard_normal(session.inputs[0].shape).astype(np.float32)
        (expected,) = session.run(image)
        with device.start(job(path, device, runtime)) as worker:
            (found,) = worker.run(image, timeout_s=120)
            assert len(worker.block(3, timeout_s=120).samples) == 3
            assert worker.version == device.runtime_version(runtime)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert {name.partition("-")[0] for name in ready_android.list_files()} - {"work"} == {"bundle", "runner"}


@pytest.mark.slow
@pytest.mark.ci
def test_a_phone_that_is_pulled_out_is_waited_for(ready_android: MadeUpPhone, tiny_onnx: Path) -> None:
    device = device_at(ready_android.address)
    with device.start(job(tiny_onnx, device)) as worker:
        worker.block(1, timeout_s=120)
        ready_android.stop()
        back = threading.Timer(3, ready_android.start)
        back.start()
        assert len(worker.block(2, timeout_s=120).samples) == 2
        back.join()


@pytest.mark.slow
@pytest.mark.ci
def test_two_clients_at_once_do_not_see_each_other(ready_android: MadeUpPhone, tiny_onnx: Path) -> None:
    device = device_at(ready_android.address)
    with device.start(job(tiny_onnx, device)) as one, device.start(job(tiny_onnx, device)) as two:
        assert len(one.block(1, timeout_s=120).samples) == len(two.block(1, timeout_s=120).samples) == 1


@pytest.mark.slow
@pytest.mark.ci
def test_what_happens_to_a_worker_there_has_its_own_error(ready_android: MadeUpPhone, tiny_onnx: Path) -> None:
    device = device_at(ready_android.address)
    device.describe()
    (python,) = ready_android.own.glob("bundle-*/python")
    before = python.read_bytes()
    try:
        for script, kind, told in (
            ("kill -SEGV $$", WorkerDied, "died"),
            ("exit 139", WorkerDied, r"died \(exit 139\)"),
            ("seq 2000", Unavailable, "words that are not its own"),
            ('echo \'{"event": "rea\'', WorkerDied, "died"),
        ):
            python.write_text(f"#!/system/bin/sh\n{script}\n")
            with pytest.raises(kind, match=told), device.start(job(tiny_onnx, device)):
                pass
    finally:
        python.write_bytes(before)
    with device.start(job(tiny_onnx, device)) as worker:
        assert len(worker.block(1, timeout_s=120).samples) == 1


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("program", "script", "error", "told"),
    [
        ("tar", "echo 'tar: write: No space left on device' >&2; exit 1", StorageError, "No space left on device"),
        ("mkdir", "echo 'mkdir: Permission denied' >&2; exit 1", StorageError, "Permission denied"),
        ("sha256sum", "cat >/dev/null; echo 0  -", Unavailable, "arrived garbled"),
    ],
)
def test_a_push_that_fails_leaves_nothing(
    own_android: MadeUpPhone, tmp_path: Path, program: str, script: str, error: type[Unavailable], told: str
) -> None:
    own_android.own.mkdir(parents=True)
    (own_android.own / "mine").write_text("somebody else's")
    own_android.write_program(program, script)
    archive = tmp_path / "bundle.tar"
    with tarfile.open(archive, "w") as packed:
        packed.add(Path(__file__), "python")
    with pytest.raises(error, match=told):
        push_bundle(Phone(own_android.serial, 5).host, Bundle(archive, sha256(archive)))
    assert own_android.list_files() == ["mine"]

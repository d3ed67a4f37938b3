from __future__ import annotations

import os

from deploy_prune.timing import conditions


def _write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def test_a_machine_that_tells_everything(tmp_path):
    """Frequencies come in kHz, temperatures in thousandths; of several cores and sensors the highest counts."""
    for core, khz in ((0, "1800000"), (1, "2400000"), (2, "3000000")):
        _write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", khz)
        _write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", "schedutil")
    for zone, kind, temperature in ((0, "x86_pkg_temp", "61500"), (1, "cpu-thermal", "48000"), (2, "battery", "90000")):
        _write(tmp_path, f"sys/class/thermal/thermal_zone{zone}/type", kind)
        _write(tmp_path, f"sys/class/thermal/thermal_zone{zone}/temp", temperature)
    now = conditions.read((0, 1), root=tmp_path)
    assert (now.frequency_mhz, now.governor, now.temperature_c) == (2400.0, "schedutil", 61.5)
    assert now.affinity == (0, 1)


def test_a_virtual_machine_names_its_clock_in_cpuinfo(tmp_path):
    _write(tmp_path, "proc/cpuinfo", "processor: 0\ncpu MHz\t\t: 2596.124\nprocessor: 1\ncpu MHz\t\t: 2100.0")
    assert conditions.read((1,), root=tmp_path).frequency_mhz == 2100.0


def test_what_a_machine_does_not_tell_is_none(tmp_path):
    now = conditions.read((0,), root=tmp_path)
    assert (now.frequency_mhz, now.governor, now.temperature_c) == (None, None, None)


def test_the_allowed_cores_are_those_of_this_process():
    if hasattr(os, "sched_getaffinity"):
        assert set(conditions.list_allowed_cores()) == os.sched_getaffinity(0)
    assert conditions.read().affinity == conditions.list_allowed_cores()


def test_sensors_of_whole_degrees_are_read_as_such(tmp_path):
    _write(tmp_path, "sys/class/thermal/thermal_zone0/type", "soc_thermal")
    _write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "61")
    assert conditions.read((0,), root=tmp_path).temperature_c == 61.0


def test_a_raspberry_pi_says_whether_it_was_throttled(tmp_path, monkeypatch):
    _write(tmp_path, "vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50005')
    (tmp_path / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert conditions.read((0,)).throttled == "0x50005"
    monkeypatch.setenv("PATH", "/nowhere")
    assert conditions.read((0,)).throttled is None

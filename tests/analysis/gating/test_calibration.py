"""A calibration says how often a gate is red for nothing, and which limit a device can tell."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.gating.calibration import Calibration, calibrate, find_blind_limit, write_calibration
from deploy_prune.errors import ConfigError
from deploy_prune.timing.bench import Setting
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import Artifact


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"x" * 100)
    return describe_artifact(file)


def on(device: FakeDevice, artifact: Artifact, limit: float = 1.05, sessions: int = 10) -> Calibration:
    return calibrate(artifact, Setting(device, 1, 0), limit, sessions=sessions, session_s=30.0)


def noisy(spread: float) -> FakeDevice:
    draw = random.Random(0)
    return FakeDevice(lambda _: 10.0 * math.exp(draw.gauss(0, spread)))


def test_a_device_without_noise_tells_everything(artifact: Artifact) -> None:
    found = on(FakeDevice(lambda _: 10.0), artifact, sessions=3)
    assert (found.false_alarms, found.smallest_limit, found.smallest_found) == (0, 1.0, 1.05)
    assert find_blind_limit(found) is None


def test_more_noise_needs_a_larger_limit(artifact: Artifact) -> None:
    quiet, loud = on(noisy(0.001), artifact), on(noisy(0.02), artifact)
    assert 1 < quiet.smallest_limit < loud.smallest_limit
    assert quiet.smallest_found < loud.smallest_found


def test_a_limit_below_the_noise_is_refused(artifact: Artifact) -> None:
    found = on(noisy(0.02), artifact, limit=1.0001)
    refused = find_blind_limit(found)
    assert refused is not None
    assert f"--max-ratio {found.smallest_limit:.3f}" in (refused.hint or "")


def test_two_sessions_say_nothing(artifact: Artifact) -> None:
    with pytest.raises(ConfigError, match="2 sessions say nothing"):
        on(noisy(0.02), artifact, sessions=2)


def test_red_takes_two_alarms_in_a_row() -> None:
    found = Calibration("net.onnx", "device", 10, ((1.1, 1.2),) * 2 + ((0.9, 1.1),) * 8, 2, 1.2, 1.2, 1.05)
    assert found.false_alarm_rate == pytest.approx(0.04)
    assert "2 of 10 sessions" in write_calibration(found)

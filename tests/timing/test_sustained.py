"""What a device gives for minutes: the first minute and the last, and files that overtake each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.errors import ConfigError
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.timing.sustained import Clock, find_overtaken, run_sustained
from deploy_prune.values import Artifact


class Warming:
    """A clock on which every block takes a second, and a device on which a large file slows down with every second."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.rests: list[float] = []
        self.warm = 0.0

    def time(self, path: Path) -> float:
        self.seconds += 1.0
        self.warm += 1.0
        return 10.0 + (min(self.warm, 120) / 10 if path.stem == "large" else 5.0)

    def wait(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.warm = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.wait)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Artifact, Artifact]:
    for name in ("large", "small"):
        (tmp_path / f"{name}.onnx").write_bytes(b"x")
    return describe_artifact(tmp_path / "large.onnx"), describe_artifact(tmp_path / "small.onnx")


def test_the_first_minute_and_the_last_are_told_apart(files: tuple[Artifact, Artifact]) -> None:
    warming = Warming()
    large, small = run_sustained(files, FakeDevice(warming.time), 600.0, clock=warming.clock)
    assert len(large.windows) == 10 and large.window_s == 60.0
    assert 12.5 < large.first < 14 and large.steady == 22.0 and large.settled
    assert small.first == small.steady == 15.0
    assert warming.rests == [60.0]
    assert find_overtaken((large, small)) == ((small.artifact, large.artifact),)


def test_what_still_grows_has_not_settled(files: tuple[Artifact, Artifact]) -> None:
    warming = Warming()
    (large,) = run_sustained(files[:1], FakeDevice(warming.time), 90.0, clock=warming.clock)
    assert len(large.windows) == 3 and not large.settled
    assert list(large.windows) == sorted(large.windows)


def test_what_only_counts_does_not_warm_up(files: tuple[Artifact, Artifact]) -> None:
    with pytest.raises(ConfigError, match="does not warm up"):
        run_sustained(files, FakeDevice(lambda _: 1.0, "cycles", exact=True), 60.0)
    with pytest.raises(ConfigError, match="are no time"):
        run_sustained(files, FakeDevice(lambda _: 1.0), 0.0)

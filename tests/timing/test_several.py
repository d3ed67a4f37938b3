"""Devices elsewhere are timed at once, those of this machine alone; one that fails costs its own figures."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.errors import InputError
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.timing.several import time_on_devices
from deploy_prune.values import Artifact


@pytest.fixture
def file(tmp_path: Path) -> Artifact:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no device here reads it")
    return describe_artifact(path)


@dataclass
class Busy:
    """How many files run at once, at the most."""

    limit: int
    most: int = 0
    _running: int = 0

    def __post_init__(self) -> None:
        self._changed = threading.Condition()

    def time(self, path: Path) -> float:
        """1 ms; waits until as many run as should, or for a moment."""
        with self._changed:
            self._running += 1
            self.most = max(self.most, self._running)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.limit, timeout=0.02)
            self._running -= 1
        return 1.0


def test_devices_elsewhere_are_timed_at_once_in_their_order(file: Artifact) -> None:
    busy = Busy(2)
    one, two = (FakeDevice(busy.time, fingerprint=name) for name in ("one", "two"))
    told: list[str] = []
    times = time_on_devices([file], {"ssh://one": one, "ssh://two": two}, progress=lambda task, *_: told.append(task))
    assert busy.most == 2
    assert [(each.address, each.measurements[0].target.device) for each in times] == [
        ("ssh://one", "one"),
        ("ssh://two", "two"),
    ]
    assert set(told) == {"ssh://one: bench", "ssh://two: bench"}


def test_devices_of_this_machine_take_turns_after_the_others(file: Artifact) -> None:
    here, order = Busy(2), []

    def there(path: Path) -> float:
        order.append("there")
        return 1.0

    def near(path: Path) -> float:
        order.append("here")
        return here.time(path)

    devices = {"local": FakeDevice(near, runs_here=True), "sim://a": FakeDevice(near, runs_here=True)}
    times = time_on_devices([file], {**devices, "ssh://one": FakeDevice(there)})
    assert [each.address for each in times] == ["local", "sim://a", "ssh://one"]
    assert here.most == 1
    assert order.index("here") > max(place for place, where in enumerate(order) if where == "there")


def test_one_that_fails_costs_its_own_figures_alone(file: Artifact) -> None:
    def refuse(path: Path) -> float:
        raise InputError(f"{path} does not run")

    first, second = time_on_devices([file], {"a": FakeDevice(refuse), "b": FakeDevice(lambda path: 2.0)})
    assert first.measurements == ()
    assert first.error
    assert "does not run" in first.error.message
    assert second.error is None
    assert second.measurements[0].median == pytest.approx(2.0)


def test_where_it_is_interrupted_the_others_end_as_well(file: Artifact) -> None:
    """Not when they are done: an hour of blocks would have to be waited for."""
    asked: list[str] = []

    def slow(path: Path) -> float:
        asked.append("b")
        return 1.0

    def interrupt(path: Path) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        time_on_devices([file], {"a": FakeDevice(interrupt), "b": FakeDevice(slow)}, threads=(1,) * 500)
    assert len(asked) < 500

"""Blocks wait while their device is hot, and say so; what is not timed does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy_prune.errors import ConfigError, Inconclusive
from deploy_prune.timing.cooling import CooledWorker, Thermometer, keep_cool
from deploy_prune.timing.devices import Job, Worker
from deploy_prune.timing.fake_device import FakeDevice


@contextmanager
def started(tmp_path: Path) -> Iterator[Worker]:
    path = tmp_path / "file.onnx"
    path.write_bytes(b"a file")
    with FakeDevice(lambda _: 1.0).start(Job(path, "onnxruntime", 1, (0,), 0)) as worker:
        yield worker


def cooled(worker: Worker, readings: list[float | None], patience_s: float = 60.0) -> CooledWorker:
    """Each look takes the next reading, the last one for ever."""
    take = lambda: readings.pop(0) if len(readings) > 1 else readings[0]  # noqa: E731
    return CooledWorker(worker, Thermometer(take, 40.0, look_s=0.001, patience_s=patience_s))


def test_a_block_begins_once_the_device_is_cool(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    readings: list[float | None] = [45.0, 41.5, 39.0]
    with started(tmp_path) as worker:
        assert len(cooled(worker, readings).block(3, timeout_s=1).samples) == 3
    assert readings == [39.0]
    assert [record.getMessage()[:7] for record in caplog.records] == ["45.0 °C", "41.5 °C"]


def test_a_device_that_stays_hot_is_given_up_with_its_temperature(tmp_path: Path) -> None:
    with started(tmp_path) as worker, pytest.raises(Inconclusive, match=r"stays at 47\.0 °C, above 40 °C"):
        cooled(worker, [47.0], patience_s=0.01).block(1, timeout_s=1)


def test_a_device_that_tells_no_temperature_cannot_be_waited_for(tmp_path: Path) -> None:
    with started(tmp_path) as worker, pytest.raises(ConfigError, match="tells no temperature"):
        cooled(worker, [None]).block(1, timeout_s=1)


def test_another_file_waits_as_well(tmp_path: Path) -> None:
    with started(tmp_path) as worker, pytest.raises(Inconclusive):
        cooled(worker, [47.0], patience_s=0.0).open(worker.job.path).block(1, timeout_s=1)


def test_without_a_limit_the_worker_is_as_it_was(tmp_path: Path) -> None:
    with keep_cool(started(tmp_path), lambda: 90.0, None) as worker:
        assert not isinstance(worker, CooledWorker)
        assert len(worker.block(2, timeout_s=1).samples) == 2

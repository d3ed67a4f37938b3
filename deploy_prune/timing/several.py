"""Times the same files on several devices: those elsewhere at once, each by itself, those of this machine after them.

Ratios are within a device; nothing is compared across them. A device that fails costs its own figures alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy_prune.errors import DeployPruneError
from deploy_prune.timing.bench import time_in_turns
from deploy_prune.timing.devices import Device
from deploy_prune.values import Artifact, Measurement, Progress, quiet


@dataclass(frozen=True)
class DeviceTimes:
    """What came of one device."""

    address: str
    measurements: tuple[Measurement, ...] = ()
    """See `time_in_turns`; empty where it failed."""
    error: DeployPruneError | None = None
    """Why it failed; None: it did not."""


def time_on_devices(
    artifacts: Sequence[Artifact],
    devices: Mapping[str, Device],
    *,
    threads: Sequence[int] = (1,),
    progress: Progress = quiet,
) -> tuple[DeviceTimes, ...]:
    """Time artifacts on every device as `time_in_turns` does.

    Args:
        artifacts: the first of them is what the others are held against, on each device.
        devices: by their addresses.
        threads: counts to time with.
        progress: told after each round, by a device's address; never by two at once.

    Returns:
        One for each device, in their order.
    """
    ended, lock = threading.Event(), threading.Lock()

    def ask(address: str) -> DeviceTimes:
        def told(task: str, done: int, total: int, note: str = "") -> None:
            if ended.is_set():
                raise _EndedError
            with lock:
                progress(f"{address}: {task}", done, total, note)

        try:
            return DeviceTimes(address, time_in_turns(artifacts, devices[address], threads=threads, progress=told))
        except DeployPruneError as error:
            return DeviceTimes(address, error=error)

    times = _ask_at_once([each for each, device in devices.items() if not device.runs_here], ask, ended)
    return tuple(times.get(address) or ask(address) for address in devices)


class _EndedError(Exception):
    """Nobody waits for this device any more."""


def _ask_at_once(
    addresses: Sequence[str], ask: Callable[[str], DeviceTimes], ended: threading.Event
) -> dict[str, DeviceTimes]:
    """A thread for each device; where this one is interrupted, all of them end with the round that they are in."""
    if not addresses:
        return {}
    with ThreadPoolExecutor(len(addresses)) as pool:
        running = {address: pool.submit(ask, address) for address in addresses}
        try:
            return {address: each.result() for address, each in running.items()}
        except BaseException:
            ended.set()
            raise

"""Workers that wait while their device is hot: a block begins only where the processor is as cool as the user says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.errors import ConfigError, Inconclusive
from deploy_prune.timing.devices import Block, Job, Worker
from deploy_prune.values import Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

LOOK_S = 5.0
"""Seconds between two looks at the temperature: it moves no faster, and a look takes a round trip."""
PATIENCE_S = 900.0
"""Seconds after which a device that stays hot is given up."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Thermometer:
    """A device's temperature, looked at now and then. Not a value: it knows when it was looked at last."""

    read_c: Callable[[], float | None]
    """Reads the temperature, in degrees Celsius; None: the device does not tell."""
    most_c: float
    """The degrees Celsius above which nothing is timed."""
    look_s: float = LOOK_S
    patience_s: float = PATIENCE_S
    _looked: float = field(default=float("-inf"), init=False)

    def await_cool(self) -> None:
        """Wait until the device is cool enough; at once where somebody has looked just now.

        Raises:
            ConfigError: it tells no temperature; Inconclusive: it stays hot.
        """
        if time.monotonic() - self._looked < self.look_s:
            return
        until = time.monotonic() + self.patience_s
        while (now_c := self._read()) > self.most_c:
            if time.monotonic() > until:
                hint = "let it cool, take its case off, or allow more degrees (max_temp_c)"
                raise Inconclusive(f"the device stays at {now_c:.1f} °C, above {self.most_c:g} °C", hint=hint)
            logger.warning("%.1f °C: waiting until the device is at %g °C", now_c, self.most_c)
            time.sleep(self.look_s)
        self._looked = time.monotonic()

    def _read(self) -> float:
        now_c = self.read_c()
        if now_c is None:
            hint = "leave max_temp_c out: the drift of the reference shows what heat does"
            raise ConfigError("the device tells no temperature that could be waited for", hint=hint)
        return now_c


@dataclass(frozen=True, eq=False)
class CooledWorker:
    """A worker whose blocks wait."""

    inner: Worker
    thermometer: Thermometer

    @property
    def job(self) -> Job:
        """What it was started for."""
        return self.inner.job

    @property
    def version(self) -> str:
        """The version of the runtime."""
        return self.inner.version

    @property
    def load_ms(self) -> float:
        """Milliseconds that opening the file took."""
        return self.inner.load_ms

    @property
    def runtime_memory_bytes(self) -> int:
        """The largest memory of the process just before it opened the file, in bytes."""
        return self.inner.runtime_memory_bytes

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What goes into the file, in order."""
        return self.inner.inputs

    def block(self, inferences: int, *, timeout_s: float) -> Block:
        """See `Worker.block`; it begins once the device is cool. Raises Inconclusive: it stays hot."""
        self.thermometer.await_cool()
        return self.inner.block(inferences, timeout_s=timeout_s)

    def profile(self, runs: int, *, timeout_s: float) -> tuple[NodeTime, ...]:
        """See `Worker.profile`."""
        self.thermometer.await_cool()
        return self.inner.profile(runs, timeout_s=timeout_s)

    def run(self, *arrays: np.ndarray, timeout_s: float) -> tuple[np.ndarray, ...]:
        """See `Worker.run`, which is not timed."""
        return self.inner.run(*arrays, timeout_s=timeout_s)

    def layers(self, *arrays: np.ndarray, timeout_s: float) -> Mapping[str, np.ndarray]:
        """See `Worker.layers`, which is not timed."""
        return self.inner.layers(*arrays, timeout_s=timeout_s)

    def delegation(self, *, timeout_s: float) -> Delegation | None:
        """See `Worker.delegation`."""
        return self.inner.delegation(timeout_s=timeout_s)

    def open(self, path: Path) -> CooledWorker:
        """See `Worker.open`."""
        return CooledWorker(self.inner.open(path), self.thermometer)


def keep_cool(
    started: AbstractContextManager[Worker], read_c: Callable[[], float | None], most_c: float | None
) -> AbstractContextManager[Worker]:
    """The worker of a block, which waits while its device is hotter than `most_c` (None: it never waits)."""
    return started if most_c is None else _cool(started, Thermometer(read_c, most_c))


@contextmanager
def _cool(started: AbstractContextManager[Worker], thermometer: Thermometer) -> Iterator[Worker]:
    with started as worker:
        yield CooledWorker(worker, thermometer)

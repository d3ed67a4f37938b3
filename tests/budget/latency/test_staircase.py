"""One operator's staircase is timed on the device that it is for, and what is known of it is not timed again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from latencies import made_up

from deploy_prune.budget.latency.model import fit_model
from deploy_prune.budget.latency.resizable import ResizableNetwork
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.budget.latency.staircase import all_probed, operator_of, probed, staircase
from deploy_prune.budget.latency.store import Store
from deploy_prune.formats.templates import Structure
from deploy_prune.timing.devices import target_on
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import ChannelGraph


@dataclass(frozen=True, eq=False)
class Sized:
    """Files that are as many bytes long as their operator has channels at its output."""

    structure: Structure
    written: list[int] = field(default_factory=list)

    def resized(self, numbers: np.ndarray) -> bytes:
        raise AssertionError("only operators alone are timed here")

    def single(self, numbers: np.ndarray, operator: int) -> bytes:
        self.written.append(int(numbers[self.structure.operators[operator].channels_out]))
        return bytes(self.written[-1])


def stairs_of_8(path: Path) -> float:
    return float(-(-path.stat().st_size // 8))


@pytest.mark.parametrize("known", [0, 30])
def test_every_width_is_timed_once_on_the_given_device(graph: ChannelGraph, store: Store, known: int) -> None:
    device = FakeDevice(stairs_of_8)
    profile = made_up(graph, target_on(device, "litert"), noise=0.0)
    drawing = profile.drawing
    template = Sized(Structure((), np.array([]), drawing.operators))
    blueprint = ResizableNetwork("tflite", b"", template, SizeLines(np.array(drawing.lines)))
    store.begin(profile)
    store.add(profile, *profile.samples)
    operator = operator_of(drawing, "b")  # 38 channels
    if known:
        told: list[int] = []

        def stop(_: str, done: int, *__: object) -> None:
            told.append(done)
            if done == known:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            probed(profile, blueprint, operator, store, device=device, progress=stop)
        profile = store.find(profile.network, profile.target) or profile
        template.written.clear()
    whole = probed(profile, blueprint, operator, store, device=device)
    assert template.written == [38, *range(known + 1, 39)]
    assert all_probed(whole, operator)
    steps = staircase(fit_model(whole), "b").steps
    measured = np.array([step.measured_ms for step in steps])
    assert [step.channels for step in steps] == list(range(1, 39))
    assert measured / measured[-1] == pytest.approx(np.ceil(np.arange(1, 39) / 8) / 5)

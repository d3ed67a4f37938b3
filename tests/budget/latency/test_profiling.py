"""A network is measured until its model is good enough, once; killed, it is gone on with."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from latencies import PHONE, REFERENCE_MS, made_up, mixed, renamed

from deploy_prune import plugins
from deploy_prune.budget.latency.model import LatencyModel
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.latency.profiling import (
    Effort,
    Subject,
    choose_effort,
    find_model,
    find_profile,
    profile_network,
    profile_on,
)
from deploy_prune.budget.latency.resizable import ResizableNetwork
from deploy_prune.budget.latency.store import Store, open_store
from deploy_prune.budget.latency.table import list_network_samples, read_features
from deploy_prune.errors import ConfigError, Inconclusive, NotProfiled
from deploy_prune.formats.templates import WEIGHTED
from deploy_prune.timing.devices import THIS_MACHINE, target_on
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import ChannelGraph, Progress, quiet

HERE = Place("onnxruntime", THIS_MACHINE)
QUICK = Effort(goal=0.05, first=32, batch=8, most=64)


class Killed(Exception):
    """A kill that comes from outside, in the middle of a sample."""


def refuse(*_: object) -> NoReturn:
    raise Killed


TARGET = target_on(FakeDevice(refuse), "onnxruntime")
"""What figures of the fake device are of."""


@dataclass
class Clock:
    """A device on which files take what stands in them: multiply-adds in stairs of 8, and noise that is their own."""

    blueprint: ResizableNetwork
    graph: ChannelGraph
    noise: float = 0.005
    dies_after: int | None = None
    timed: dict[bytes, float] = field(default_factory=dict)
    """File -> its ms, of every file but the dense network's, in the order in which they were timed first."""

    @cached_property
    def dense_multiply_adds(self) -> float:
        return self.multiply_adds(self.blueprint.dense)

    def multiply_adds(self, content: bytes) -> float:
        structure = plugins.build("templates", "onnx").read(content).structure
        total = 1e4
        for each in structure.operators:
            if each.kind in WEIGHTED:
                sizes = structure.numbers[list(each.weight)]
                total += float(np.prod(sizes)) / sizes[0] * (8 * np.ceil(sizes[0] / 8))
        return total

    def ms(self, content: bytes) -> float:
        return REFERENCE_MS * self.multiply_adds(content) / self.dense_multiply_adds

    def time(self, path: Path) -> float:
        content = path.read_bytes()
        if content == self.blueprint.dense:
            return REFERENCE_MS
        if content not in self.timed:
            if self.dies_after == len(self.timed):
                raise Killed
            noise = self.noise * np.random.default_rng(len(self.timed)).standard_normal()
            self.timed[content] = self.ms(content) * (1 + noise)
        return self.timed[content]

    def profile(self, store: Store, effort: Effort, progress: Progress = quiet) -> LatencyModel:
        """The model by samples that are taken on this device; the converter is asked once for all tests."""
        subject = Subject("tests:mixed", self.graph, lambda: self.blueprint)
        return profile_on(FakeDevice(self.time), subject, TARGET, store, effort=effort, progress=progress)


@pytest.fixture
def clock(blueprint: ResizableNetwork, graph: ChannelGraph) -> Clock:
    return Clock(blueprint, graph)


@pytest.mark.heavy
def test_what_is_measured_is_enough_for_a_model_and_no_more(clock, store):
    """Noise of half a percent: the goal of 5 % is met with the first samples; the dense network was timed too."""
    model = clock.profile(store, QUICK)
    assert model.error.mean < 0.05
    assert model.error.samples == QUICK.first
    assert len(clock.timed) == QUICK.first
    assert model.profile.reference == REFERENCE_MS


@pytest.mark.heavy
def test_the_model_predicts_files_that_it_was_not_shown(clock, store, blueprint, graph):
    model = clock.profile(store, Effort(goal=0.0, first=32, batch=16, most=96))
    draw = np.random.default_rng(5)
    widths = draw.integers(5, [group.width + 1 for group in graph.free], size=(30, len(graph.free)))
    truth = np.array([clock.ms(blueprint.network(plan)) for plan in widths]) / REFERENCE_MS
    assert np.abs(model.ratio(widths) / truth - 1).mean() < 0.03


@pytest.mark.heavy
def test_a_goal_out_of_reach_ends_with_the_most_samples(clock, store):
    clock.noise = 0.02
    model = clock.profile(store, Effort(goal=0.0001, first=32, batch=8, most=44))
    assert len(clock.timed) == 44
    assert 0.01 < model.error.mean < 0.06


@pytest.mark.heavy
def test_no_plan_is_timed_twice(clock, store):
    model = clock.profile(store, Effort(goal=0.0, first=32, batch=8, most=64))
    assert len({each.widths for each in model.profile.samples}) == 64
    assert find_model(clock.graph, TARGET, store).error == model.error


@pytest.mark.heavy
def test_a_model_that_is_of_no_use_is_gone_on_with_when_more_samples_are_asked_for(clock, store):
    clock.noise = 0.3
    few, more = (Effort(goal=0.0, first=32, batch=8, most=most) for most in (32, 48))
    for effort, timed in ((few, 32), (few, 32), (more, 48)):
        with pytest.raises(Inconclusive, match="errs by") as refused:
            clock.profile(store, effort)
        assert "--samples" in refused.value.hint
        assert len(clock.timed) == timed


@pytest.mark.heavy
def test_no_new_batch_begins_after_the_time_is_up(clock, store):
    clock.profile(store, Effort(goal=0.0, first=32, batch=8, most=64, seconds=0.0))
    assert len(clock.timed) == 32


@pytest.mark.heavy
def test_a_killed_profile_goes_on_where_it_stopped(clock, store):
    clock.dies_after = 20
    with pytest.raises(Killed):
        clock.profile(store, QUICK)
    kept = find_profile(clock.graph, TARGET, store)
    assert len(list_network_samples(kept)) == 20 and not kept.complete
    with pytest.raises(Inconclusive, match=r"20 samples .* are too few") as refused:
        find_model(clock.graph, TARGET, store)
    assert "deploy-prune profile" in refused.value.hint
    clock.dies_after = None
    model = clock.profile(store, QUICK)
    assert len(clock.timed) == QUICK.first
    assert model.profile.samples[:20] == kept.samples
    assert find_profile(clock.graph, TARGET, store).complete


@pytest.mark.heavy
def test_a_whole_profile_is_not_measured_again(clock, store):
    """Nothing is converted and nothing is started."""
    first = clock.profile(store, QUICK)
    again = profile_on(FakeDevice(refuse), Subject("", clock.graph, refuse), TARGET, store, effort=QUICK)
    assert np.array_equal(again.fit.coefficients, first.fit.coefficients)


@pytest.mark.heavy
def test_what_a_device_counts_is_sampled_stored_and_predicted_in_its_unit(clock, store):
    cycles, clock.noise = "simulated Cortex-A72 cycles", 0.0
    core = FakeDevice(lambda path: 1e6 * clock.time(path), cycles, exact=True)
    subject = Subject("tests:mixed", clock.graph, lambda: clock.blueprint)
    profile_on(core, subject, TARGET, store, effort=QUICK)
    model = find_model(clock.graph, TARGET, store)
    assert (model.profile.unit, model.profile.reference) == (cycles, 1e6 * REFERENCE_MS)
    dense = np.array([group.width for group in model.profile.drawing.groups])
    assert model.latency(dense) == pytest.approx(1e6 * REFERENCE_MS, rel=0.05)


@pytest.mark.heavy
def test_every_sample_keeps_its_raw_times(clock, store):
    model = clock.profile(store, QUICK)
    samples = store.whole(model.profile).samples
    assert all(each.comparison.ratio == each.ratio for each in samples)


@pytest.mark.heavy
def test_progress_is_told_to_its_end(clock, store):
    told: list[tuple[int, int]] = []
    clock.profile(store, QUICK, lambda task, done, most, _="": told.append((done, most)))
    assert told[0] == (1, 64) and told[-1] == (64, 64)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def made_with(graph, version):
    """A table of the fake device, made with a version of the runtime."""
    return renamed(made_up(graph), runtime=TARGET.runtime, device=TARGET.device, runtime_version=version)


def test_milliseconds_of_another_version_are_stale(store, graph):
    """Both versions are named; profiling again measures anew beside them."""
    old = made_with(graph, "0.0.1")
    store.begin(old)
    store.add(old, *old.samples)
    with pytest.raises(NotProfiled, match=r"stale: taken with onnxruntime 0\.0\.1, here is 1\.0"):
        find_model(graph, TARGET, store)


@pytest.mark.heavy
def test_a_new_version_is_measured_anew_and_the_old_table_stays(clock, store, graph):
    old = made_with(graph, "0.0.1")
    store.begin(old)
    store.add(old, *old.samples)
    model = clock.profile(store, QUICK)
    assert model.target == TARGET and len(clock.timed) == QUICK.first
    assert store.find(old.network, old.target).samples == old.samples


def test_another_devices_version_is_not_asked_for(store, graph, table):
    store.begin(table)
    store.add(table, *table.samples)
    assert find_model(graph, Place("litert", "phone").target, store).target == PHONE


def test_a_device_that_is_not_here_cannot_be_measured(store, graph):
    with pytest.raises(ConfigError, match="'phone' is no device that files can be timed on") as refused:
        profile_network(mixed(), graph, Place("onnxruntime", "phone"), store)
    assert "latency import" in refused.value.hint


def test_a_runtime_whose_files_cannot_be_redrawn_is_refused():
    assert format_of("litert") == "tflite"
    with pytest.raises(ConfigError, match="no milliseconds are predicted for runtime 'executorch'") as refused:
        format_of("executorch")
    assert refused.value.hint == "known: litert, onnxruntime"


def test_a_network_that_was_not_measured_says_how(store, graph):
    with pytest.raises(NotProfiled, match=f"{store.path} has no milliseconds of this network") as refused:
        find_model(graph, Place("onnxruntime", THIS_MACHINE, threads=2).target, store)
    assert refused.value.hint == "measure it: deploy-prune profile MODEL --runtime onnxruntime --threads 2"


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.ci
def test_the_network_itself_is_measured(tmp_path: Path, graph: ChannelGraph):
    """The real converter, the real runtime, a few samples; how good the model is, is not asked of a tiny network."""
    effort = Effort(goal=1.0, first=32, most=32)
    with open_store(tmp_path / "latency.sqlite") as store:
        with suppress(Inconclusive):
            profile_network(mixed(), graph, HERE, store, effort=effort)
        profile = find_profile(graph, HERE.target, store)
        assert len(profile.samples) == 32 and profile.complete
        assert profile.reference > 0
        assert profile.drawing.format == "onnx" and [each.name for each in profile.drawing.groups] == ["a", "b", "down"]
        assert len(read_features(profile.drawing).names) > 10
        raw = json.loads(store._rows("SELECT raw FROM samples LIMIT 1")[0]["raw"])
        assert len(raw["brackets"]) == 8 and all(bracket["candidate"] for bracket in raw["brackets"])


def test_exact_counts_take_fewer_plans_than_times_and_no_clock_says_how_many() -> None:
    times, counts = (choose_effort(FakeDevice(made_up, exact=exact)) for exact in (False, True))
    assert counts.first < times.first
    assert counts.most < times.most
    assert counts.seconds == math.inf, "a busy machine makes the same table"


def test_who_names_a_number_of_plans_gets_no_more() -> None:
    effort = choose_effort(FakeDevice(made_up), 32)
    assert (effort.first, effort.most) == (32, 32)

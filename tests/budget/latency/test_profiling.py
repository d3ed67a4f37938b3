"""A network is measured until its model is good enough, once; killed, it is gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from latencies import PHONE, REFERENCE_MS, comparison, made_up, mixed, renamed

from deploy_prune import plugins
from deploy_prune.budget.latency import profiling
from deploy_prune.budget.latency.place import Place, format_of
from deploy_prune.budget.latency.profiling import Effort, find_model, find_profile, profile_network
from deploy_prune.budget.latency.resizable import ResizableNetwork
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.latency.table import list_network_samples, read_features
from deploy_prune.budget.latency.timer import Timer
from deploy_prune.errors import ConfigError, Inconclusive, NotProfiled
from deploy_prune.formats.templates import WEIGHTED
from deploy_prune.values import ChannelGraph, Comparison, Target

HERE = Place("onnxruntime")
QUICK = Effort(goal=0.05, first=32, batch=8, most=64)


class Killed(Exception):
    """A kill that comes from outside, in the middle of a sample."""


@dataclass
class Clock:
    """A machine whose times follow what stands in the file: multiply-adds in stairs of 8, and noise."""

    noise: float = 0.005
    dies_after: int | None = None
    timed: list[bytes] = field(default_factory=list)

    def ms(self, content: bytes) -> float:
        structure = plugins.build("templates", "onnx").read(content).structure
        total = 1e4
        for each in structure.operators:
            if each.kind in WEIGHTED:
                sizes = structure.numbers[list(each.weight)]
                total += float(np.prod(sizes)) / sizes[0] * (8 * np.ceil(sizes[0] / 8))
        return total

    @contextmanager
    def timer(self, reference: bytes, suffix: str, target: Target, **_: object) -> Iterator[Timer]:
        assert suffix == ".onnx" and target.runtime == "onnxruntime"
        draw, dense = np.random.default_rng(len(self.timed)), self.ms(reference)

        def timed(content: bytes) -> Comparison:
            if self.dies_after == len(self.timed):
                raise Killed
            self.timed.append(content)
            return comparison(self.ms(content) / dense * (1 + self.noise * draw.standard_normal()))

        yield timed


@pytest.fixture
def clock(blueprint: ResizableNetwork, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Instead of the machine's; the converter is asked once for all tests."""
    found = Clock()
    monkeypatch.setattr(profiling, "timer", found.timer)
    monkeypatch.setattr(profiling, "learn_sizes", lambda *_, **__: blueprint)
    return found


def test_what_is_measured_is_enough_for_a_model_and_no_more(clock, store, graph):
    """Noise of half a percent: the goal of 5 % is met with the first samples, and the dense network was timed too."""
    model = profile_network(mixed(), graph, HERE, store, effort=QUICK)
    assert model.error.mean < 0.05
    assert model.error.samples == QUICK.first
    assert len(clock.timed) == QUICK.first + 1
    assert model.profile.reference == REFERENCE_MS


def test_the_model_predicts_files_that_it_was_not_shown(clock, store, graph, blueprint):
    model = profile_network(mixed(), graph, HERE, store, effort=Effort(goal=0.0, first=32, batch=16, most=96))
    draw = np.random.default_rng(5)
    widths = draw.integers(5, [group.width + 1 for group in graph.free], size=(30, len(graph.free)))
    truth = np.array([clock.ms(blueprint.network(plan)) for plan in widths]) / clock.ms(blueprint.dense)
    assert np.abs(model.ratio(widths) / truth - 1).mean() < 0.03


def test_a_goal_out_of_reach_ends_with_the_most_samples(clock, store, graph):
    clock.noise = 0.02
    model = profile_network(mixed(), graph, HERE, store, effort=Effort(goal=0.0001, first=32, batch=8, most=44))
    assert len(clock.timed) == 45
    assert 0.01 < model.error.mean < 0.06


def test_no_plan_is_timed_twice(clock, store, graph):
    model = profile_network(mixed(), graph, HERE, store, effort=Effort(goal=0.0, first=32, batch=8, most=64))
    assert len({each.widths for each in model.profile.samples}) == 64
    assert find_model(graph, HERE, store).error == model.error


def test_a_model_that_is_of_no_use_is_gone_on_with_when_more_samples_are_asked_for(clock, store, graph):
    clock.noise = 0.3
    few, more = (Effort(goal=0.0, first=32, batch=8, most=most) for most in (32, 48))
    for effort, timed in ((few, 33), (few, 33), (more, 49)):
        with pytest.raises(Inconclusive, match="errs by") as refused:
            profile_network(mixed(), graph, HERE, store, effort=effort)
        assert "--samples" in refused.value.hint
        assert len(clock.timed) == timed


def test_no_new_batch_begins_after_the_time_is_up(clock, store, graph):
    profile_network(mixed(), graph, HERE, store, effort=Effort(goal=0.0, first=32, batch=8, most=64, seconds=0.0))
    assert len(clock.timed) == 33


def test_a_killed_profile_goes_on_where_it_stopped(clock, store, graph):
    clock.dies_after = 21
    with pytest.raises(Killed):
        profile_network(mixed(), graph, HERE, store, effort=QUICK)
    kept = find_profile(graph, HERE, store)
    assert len(list_network_samples(kept)) == 20 and not kept.complete
    with pytest.raises(Inconclusive, match=r"20 samples .* are too few") as refused:
        find_model(graph, HERE, store)
    assert "deploy-prune profile" in refused.value.hint
    clock.dies_after = None
    model = profile_network(mixed(), graph, HERE, store, effort=QUICK)
    assert len(clock.timed) == QUICK.first + 1
    assert model.profile.samples[:20] == kept.samples
    assert find_profile(graph, HERE, store).complete


def test_a_whole_profile_is_not_measured_again(clock, store, graph):
    first = profile_network(mixed(), graph, HERE, store, effort=QUICK)
    clock.dies_after = len(clock.timed)
    again = profile_network(mixed(), graph, HERE, store, effort=QUICK)
    assert np.array_equal(again.fit.coefficients, first.fit.coefficients)


def test_every_sample_keeps_its_raw_times(clock, store, graph):
    model = profile_network(mixed(), graph, HERE, store, effort=QUICK)
    samples = store.whole(model.profile).samples
    assert all(each.comparison.ratio == each.ratio for each in samples)


def test_progress_is_told_to_its_end(clock, store, graph):
    told: list[tuple[int, int]] = []
    profile_network(
        mixed(), graph, HERE, store, effort=QUICK, progress=lambda task, done, most, _="": told.append((done, most))
    )
    assert told[0] == (1, 64) and told[-1] == (64, 64)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_milliseconds_of_another_version_are_stale(store, graph):
    """Both versions are named; profiling again measures anew beside them."""
    target = Place("onnxruntime").target
    old = made_up(graph, renamed(made_up(graph), runtime="onnxruntime", device=target.device).target)
    old = renamed(old, runtime_version="0.0.1")
    store.begin(old)
    store.add(old, *old.samples)
    with pytest.raises(NotProfiled, match=f"stale: taken with onnxruntime 0.0.1, here is {target.runtime_version}"):
        find_model(graph, HERE, store)


def test_a_new_version_is_measured_anew_and_the_old_table_stays(clock, store, graph):
    old = renamed(made_up(graph), runtime="onnxruntime", device=HERE.target.device, runtime_version="0.0.1")
    store.begin(old)
    store.add(old, *old.samples)
    model = profile_network(mixed(), graph, HERE, store, effort=QUICK)
    assert model.target == HERE.target and len(clock.timed) == QUICK.first + 1
    assert store.find(old.network, old.target).samples == old.samples


def test_another_devices_version_is_not_asked_for(store, graph, table):
    store.begin(table)
    store.add(table, *table.samples)
    assert find_model(graph, Place("litert", "phone"), store).target == PHONE


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
        find_model(graph, Place("onnxruntime", threads=2), store)
    assert refused.value.hint == "measure it: deploy-prune profile MODEL --runtime onnxruntime --threads 2"


@pytest.mark.slow
@pytest.mark.ci
def test_the_network_itself_is_measured(tmp_path: Path, graph: ChannelGraph):
    """The real converter, the real runtime, a few samples; how good the model is, is not asked of a tiny network."""
    effort = Effort(goal=1.0, first=32, most=32)
    with open_store(tmp_path / "latency.sqlite") as store:
        with suppress(Inconclusive):
            profile_network(mixed(), graph, HERE, store, effort=effort)
        profile = find_profile(graph, HERE, store)
        assert len(profile.samples) == 32 and profile.complete
        assert profile.reference > 0
        assert profile.drawing.format == "onnx" and [each.name for each in profile.drawing.groups] == ["a", "b", "down"]
        assert len(read_features(profile.drawing).names) > 10
        raw = json.loads(store._rows("SELECT raw FROM samples LIMIT 1")[0]["raw"])
        assert len(raw["brackets"]) == 8 and all(bracket["candidate"] for bracket in raw["brackets"])

"""The two questions who decides how many units stay and who selects which are asked once; their answers reach disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from building import conv, net
from latencies import REFERENCE_MS, made_up, mixed
from tinyrun import config

from deploy_prune.budget.latency.model import LatencyCost, LatencyModel, fit_model
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import ConfigError, NotProfiled, PlanError, RecordError, UnknownName, WorkerDied
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.pipeline.decide import TABLE, UNSCORED, WIDTHS, Parts, decide, select_units
from deploy_prune.pipeline.deciders import build_deciders
from deploy_prune.pipeline.front import front
from deploy_prune.pipeline.plan_stage import SCORED
from deploy_prune.pipeline.priced import Price, timing_device
from deploy_prune.pipeline.real_file import RealFiles
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary, WidthsResult
from deploy_prune.run_folder import RunFolder, read_asked
from deploy_prune.scoring.methods.dcp import STATE
from deploy_prune.scoring.study import Study
from deploy_prune.sources import checkpoint
from deploy_prune.timing.devices import device_at
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import Budget, Network, Scores, Selection

DCP: dict[str, Any] = {
    "method": "dcp", "method_options": {"heads": 0, "images": 64, "batch_size": 32, "steps": 4}, "workers": "1",
}  # fmt: skip

LIMIT_MS = 0.6 * REFERENCE_MS
DENSE = (("a", 21), ("b", 38), ("down", 11))
"""The free groups of `mixed` and their widths."""


@pytest.fixture(scope="module")
def selected(sources: Path) -> tuple[Path, RunSummary]:
    """A run whose widths are those of magnitude's scores."""
    return sources / "dcp", prune(config(sources, **DCP, widths="magnitude"), sources / "dcp")


@pytest.fixture(scope="module")
def scored(sources: Path) -> tuple[Path, RunSummary]:
    """The run of magnitude alone."""
    return sources / "magnitude", prune(config(sources, method="magnitude"), sources / "magnitude")


def widths(summary: RunSummary) -> dict[str, int]:
    return {row.name: row.kept for row in summary.plan.groups}


@pytest.mark.heavy
def test_the_widths_are_those_of_the_method_that_scores(
    selected: tuple[Path, RunSummary], scored: tuple[Path, RunSummary]
) -> None:
    assert widths(selected[1]) == widths(scored[1])
    assert selected[1].plan.plan.keep != scored[1].plan.plan.keep
    assert selected[1].plan.plan.reached == scored[1].plan.plan.reached
    assert selected[1].plan.method == "dcp at widths of 'magnitude'"
    assert scored[1].plan.method == "magnitude"


@pytest.mark.heavy
def test_the_selections_weights_are_what_is_cut(selected: tuple[Path, RunSummary]) -> None:
    run, summary = selected
    dense, decided = checkpoint.load(run / "dense"), checkpoint.load(run / SCORED)
    changed = [
        name for name, value in decided.module.state_dict().items()
        if not torch.equal(value, dense.module.state_dict()[name])
    ]  # fmt: skip
    assert changed
    small = cut(decided, trace(decided), summary.plan.plan.keep)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(small.module(x), decided.module(x), atol=1e-5)
    convolution = checkpoint.load(run / "cut").module.get_parameter("down.0.weight")
    assert torch.equal(convolution, small.module.get_parameter("down.0.weight"))


@pytest.mark.heavy
@pytest.mark.parametrize("key", ["widths", "scores"])
def test_another_runs_scores_decide_widths(
    sources: Path, tmp_path: Path, scored: tuple[Path, RunSummary], key: str
) -> None:
    summary = prune(config(sources, **DCP, **{key: str(scored[0])}), tmp_path / "run")
    assert widths(summary) == widths(scored[1])
    assert str(scored[0]) in summary.plan.method


def test_the_widths_methods_options_reach_it(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="norm: Input should be 'l1' or 'l2', got 'l3'"):
        prune(config(sources, **DCP, widths="magnitude", widths_options={"norm": "l3"}), tmp_path / "run")


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"method": "legr", "widths": "magnitude"}, ConfigError, "'legr' decides widths by itself"),
    ({"method": "magnitude", "widths_options": {"norm": "l1"}}, ConfigError, "decides widths by itself"),
    ({**DCP, "widths": "dkp"}, ConfigError, "'dkp' does not decide widths"),
    ({**DCP, "widths": "magnitud"}, UnknownName, "unknown method 'magnitud'"),
    ({**DCP, "select": "obs"}, ConfigError, "'dcp' selects units by itself"),
    ({"select": "dkp"}, ConfigError, "'dkp' does not score units"),
    ({"select": "ob"}, UnknownName, "unknown method 'ob'"),
    ({"select_options": {"images": 9}}, ConfigError, "are of a method that is not given"),
])  # fmt: skip
def test_widths_that_nobody_decides_are_refused(
    sources: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        build_deciders(config(sources, **changes))


def test_a_folder_without_scores_decides_nothing(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no scores"):
        prune(config(sources, **DCP, widths=str(tmp_path / "empty")), tmp_path / "run")


def test_a_methods_name_is_no_folder(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "magnitude").mkdir()
    assert not isinstance(build_deciders(config(sources, **DCP, widths="magnitude"))[0], Path)


@dataclass(frozen=True, eq=False)
class Even:
    """Scores that grow alike in every group."""

    asked: list[str] = field(default_factory=list)
    deaths: int = 0
    additive: bool = False

    def score(self, study: Study) -> Scores:
        self.asked.append(study.network.address)
        if len(self.asked) <= self.deaths:
            raise WorkerDied("a worker process died")
        by_group = {group.name: np.arange(group.width) / group.width for group in study.graph.free}
        return Scores(by_group, additive=self.additive)


@dataclass(frozen=True, eq=False)
class Last:
    """Selects the last units of every group."""

    asked: list[dict[str, int]] = field(default_factory=list)
    killed: bool = False

    def select(self, study: Study, widths: Mapping[str, int]) -> Selection:
        if self.killed:
            raise KeyboardInterrupt
        self.asked.append(dict(widths))
        width = {group.name: group.width for group in study.graph.free}
        return Selection({name: tuple(range(width[name] - kept, width[name])) for name, kept in widths.items()})


@dataclass(frozen=True, eq=False)
class Machine:
    """Files are the widths of their layers, and take a tenth longer than the latency model says."""

    model: LatencyModel
    written: list[tuple[int, ...]] = field(default_factory=list)

    def write(self, network: Network, exporter: str) -> bytes:
        widths = tuple(network.module.get_submodule(name).out_channels for name in ("a", "b", "down"))
        self.written.append(widths)
        return json.dumps(widths).encode()

    def ms(self, path: Path) -> float:
        widths = json.loads(path.read_text())
        slower = 1.0 if widths == [21, 38, 11] else 1.1
        return slower * float(self.model.latency(np.array(widths)))


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    return fit_model(made_up(trace(mixed()), noise=0.0))


@pytest.fixture
def machine(model: LatencyModel) -> Machine:
    return Machine(model)


@pytest.fixture
def parts(model: LatencyModel, machine: Machine, store: Store, tmp_path: Path) -> Parts:
    """A decision under a budget in milliseconds of a machine that is made up."""
    graph, network = trace(mixed()), mixed()
    store.begin(model.profile)
    store.add(model.profile, *model.profile.samples)
    budget, files = Budget("latency", LIMIT_MS, False, "4.8ms"), RealFiles(FakeDevice(machine.ms), store, machine.write)
    price = Price(budget, graph, LatencyCost.of(model, graph), "ms", LIMIT_MS)
    return Parts(
        Study(network, graph, None, 0), Even(), None, budget, lambda: price, Limits(), lambda: nullcontext(files),
        RunFolder(tmp_path), method="even", decider="'even'",
    )  # fmt: skip


def test_in_milliseconds_the_plan_is_the_one_whose_file_was_timed(parts: Parts, machine: Machine) -> None:
    """A tenth over the budget at first; the model that comes back knows what both files took."""
    decision = decide(parts)
    assert decision.closing is not None
    assert len(decision.closing.attempts) == 2
    assert tuple(len(decision.keep.get(name, range(width))) for name, width in DENSE) == machine.written[-1]
    assert isinstance(decision.price.cost, LatencyCost)
    assert [each.widths for each in decision.price.cost.model.profile.samples[-2:]] == machine.written[-2:]
    assert decision.price.limit == LIMIT_MS


def test_under_milliseconds_it_selects_once_at_the_widths_that_were_timed(parts: Parts, machine: Machine) -> None:
    selector = Last()
    decision = decide(dataclasses.replace(parts, selector=selector))
    assert decision.closing is not None
    assert len(machine.written) == 1 + len(decision.closing.attempts)
    (asked,) = selector.asked
    assert tuple(asked[name] for name, _ in DENSE) == machine.written[-1]
    assert decision.keep["b"] == tuple(range(38 - asked["b"], 38))
    assert isinstance(decision.price.cost, LatencyCost)
    assert decision.price.cost.model.profile.samples[-1].widths == machine.written[-1]
    assert decision.method == "even at widths of 'even'"


def test_widths_that_were_timed_before_an_interruption_are_not_timed_again(parts: Parts, machine: Machine) -> None:
    with pytest.raises(KeyboardInterrupt):
        decide(dataclasses.replace(parts, selector=Last(killed=True)))
    decided = read_record(parts.folder.path / f"{WIDTHS}.json", WidthsResult)
    files, selector = len(machine.written), Last()
    decide(dataclasses.replace(parts, selector=selector))
    assert len(machine.written) == files
    assert selector.asked == [decided.widths]


def gone() -> Any:
    raise NotProfiled("the store was removed")


@pytest.mark.parametrize("timed", [True, False])
def test_a_plan_is_priced_by_what_its_widths_were_decided_by_if_the_store_is_gone(parts: Parts, timed: bool) -> None:
    """The store is gone behind widths that real files taught the latency model, or that a phone's table decided."""
    parts = parts if timed else dataclasses.replace(parts, open_files=None)
    undisturbed = decide(dataclasses.replace(parts, selector=Last()))
    again = decide(dataclasses.replace(
        parts, selector=Last(), find_price=gone, open_files=gone if timed else None, scorer=Path("gone")
    ))  # fmt: skip
    assert (again.keep, again.closing) == (undisturbed.keep, undisturbed.closing)
    for asked in ({}, again.keep, {"b": (1, 2, 3)}):
        assert again.price.of(asked) == undisturbed.price.of(asked)
    assert (again.price.limit, again.price.unit, again.price.budget) == (LIMIT_MS, "ms", parts.budget)


def test_a_run_of_before_that_left_no_table_beside_its_widths_is_priced_by_the_store(parts: Parts) -> None:
    decide(dataclasses.replace(parts, selector=Last()))
    (parts.folder.path / TABLE).unlink()
    assert decide(dataclasses.replace(parts, selector=Last())).price is parts.find_price()
    with pytest.raises(NotProfiled):
        decide(dataclasses.replace(parts, selector=Last(), find_price=gone))


def test_scores_are_found_once(parts: Parts) -> None:
    scorer = Even()
    for _ in range(2):
        decide(dataclasses.replace(parts, scorer=scorer, open_files=None))
    assert len(scorer.asked) == 1


@pytest.mark.parametrize(("deaths", "calls"), [(1, 2), (2, 2)])
def test_a_search_whose_worker_is_killed_is_gone_on_with_once(parts: Parts, deaths: int, calls: int) -> None:
    scorer = Even(deaths=deaths)
    with pytest.raises(WorkerDied) if deaths == 2 else nullcontext():
        decide(dataclasses.replace(parts, scorer=scorer, open_files=None))
    assert len(scorer.asked) == calls


@pytest.mark.parametrize("selector", [None, Last()])
def test_where_scores_add_up_a_decision_has_their_curves_priced_by_what_the_real_files_took(
    parts: Parts, selector: Last | None
) -> None:
    decision = decide(dataclasses.replace(parts, scorer=Even(additive=True), selector=selector))
    assert [curve.name for curve in decision.curves] == [name for name, _ in DENSE]
    for curve in decision.curves:
        kept = curve.widths.index(len(decision.keep[curve.name]))
        assert curve.costs[kept] == pytest.approx(decision.price.of(decision.keep))
        assert (curve.errors[-1], curve.unit) == (0.0, "ms")
    assert not decide(dataclasses.replace(parts, folder=RunFolder(parts.folder.path / "ranks"))).curves


def test_a_group_without_scores_stays_whole(parts: Parts) -> None:
    @dataclass(frozen=True)
    class Some:
        def score(self, study: Study) -> Scores:
            return Scores({"b": np.arange(38.0), "down": np.arange(11.0)})

    decision = decide(dataclasses.replace(parts, scorer=Some(), open_files=None))
    assert {group.name: group.locked for group in decision.graph.groups}["a"] == UNSCORED
    assert "a" not in decision.keep
    assert decision.price.of(decision.keep) <= LIMIT_MS


def test_a_selection_that_makes_an_unsound_cut_is_refused(parts: Parts) -> None:
    """The graph was not settled: nobody has found yet that the forward pass has 24 units of `a` baked in."""
    network = net(lambda m, x: m.b(m.a(x).view(x.shape[0], 24, 64, -1)).mean((2, 3)), a=conv(3, 24), b=conv(24, 5, 1))
    graph = trace(network)
    study = dataclasses.replace(parts.study, network=network, graph=graph)
    decided = WidthsResult({"a": 8}, {})
    with pytest.raises(PlanError, match="the units that 'even' selects break group 'a': baked into"):
        select_units(dataclasses.replace(parts, study=study), Last(), decided, parts.find_price())


@pytest.mark.heavy
def test_a_front_scores_once_and_selects_at_every_budget(sources: Path, tmp_path: Path) -> None:
    found = front(config(sources, **DCP, widths="magnitude"), ("0.8x", "0.5x"), tmp_path / "front")
    assert [point.kind for point in found.points] == ["dense", "pruned", "uniform", "pruned", "uniform"]
    for run in ("0.8x", "0.5x"):
        assert (tmp_path / "front" / run / STATE).exists()
        assert read_asked(tmp_path / "front" / run)["scores"] == str(tmp_path / "front")


def test_files_are_timed_on_the_runs_device_and_here_where_that_is_a_tables_name(sources: Path) -> None:
    assert timing_device(config(sources)) == timing_device(config(sources, device="phone")) == device_at("local")
    with pytest.raises(ConfigError, match="'local' takes no options, got 'address'"):
        timing_device(config(sources, device="local://elsewhere"))

"""Who decides how many units stay, and who selects which: two questions, each asked once; their answers reach disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tinyrun import config

from deploy_prune.analysis import report
from deploy_prune.errors import ConfigError, PlanError, RecordError, UnknownName
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.pipeline import decide, stages
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.decide import WIDTHS
from deploy_prune.pipeline.deciders import build_deciders
from deploy_prune.pipeline.front import front
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record
from deploy_prune.results import Attempt, Closing, RunSummary, WidthsResult
from deploy_prune.scoring.methods.dcp import STATE, Dcp
from deploy_prune.sources import checkpoint
from deploy_prune.values import Selection, Target

DCP: dict[str, Any] = {
    "method": "dcp", "method_options": {"heads": 0, "images": 64, "batch_size": 32, "steps": 4}, "workers": "1",
}  # fmt: skip
DKP: dict[str, Any] = {
    "method": "dkp", "method_options": {"heads": 0, "images": 64, "batch_size": 32, "steps": 4, "rate": 0.4},
}  # fmt: skip


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


def test_the_widths_are_those_of_the_method_that_scores(
    selected: tuple[Path, RunSummary], scored: tuple[Path, RunSummary]
) -> None:
    assert widths(selected[1]) == widths(scored[1])
    assert selected[1].plan.plan.keep != scored[1].plan.plan.keep
    assert selected[1].plan.plan.reached == scored[1].plan.plan.reached
    assert selected[1].plan.method == "dcp at widths of 'magnitude'"
    assert scored[1].plan.method == "magnitude"


def test_the_selections_weights_are_what_is_cut(selected: tuple[Path, RunSummary]) -> None:
    run, summary = selected
    dense, decided = checkpoint.load(run / "dense"), checkpoint.load(run / stages.SCORED)
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


@pytest.mark.parametrize("key", ["widths", "scores"])
def test_another_runs_scores_decide_widths(
    sources: Path, tmp_path: Path, scored: tuple[Path, RunSummary], key: str
) -> None:
    summary = prune(config(sources, **DCP, **{key: str(scored[0])}), tmp_path / "run")
    assert widths(summary) == widths(scored[1])
    assert str(scored[0]) in summary.plan.method


def test_the_widths_methods_options_reach_it(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no norm 'l3'"):
        prune(config(sources, **DCP, widths="magnitude", widths_options={"norm": "l3"}), tmp_path / "run")


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"method": "legr", "widths": "magnitude"}, ConfigError, "'legr' decides widths by itself"),
    ({"method": "magnitude", "widths_options": {"norm": "l1"}}, ConfigError, "decides widths by itself"),
    ({**DCP, "widths": "dkp"}, ConfigError, "'dkp' does not decide widths"),
    ({**DCP, "widths": "magnitud"}, UnknownName, "unknown method 'magnitud'"),
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


def counted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """The widths of every selection."""
    found: list[dict[str, int]] = []
    real = Dcp.select

    def select(self: Dcp, study: Any, asked: Any) -> Selection:
        found.append(dict(asked))
        return real(self, study, asked)

    monkeypatch.setattr(Dcp, "select", select)
    return found


def in_milliseconds(sources: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunConfig, list[int]]:
    """A run whose budget is closed on files that are made up: three attempts, of which the last is taken."""
    shares, asked = (0.9, 0.7, 0.5), []

    def closed(network: Any, limit: float, choose: Any, store: Any, *, progress: Any) -> Any:
        found = [choose(share * limit) for share in shares]
        asked.append(len(found))
        tried = tuple(Attempt(each, each, each, (each, each), "ms") for each in shares)
        return found[-1], Closing(Target("local", "litert", "1", 1, "fp32"), 1.0, 1.0, "ms", tried, 2)

    monkeypatch.setattr(decide, "plan_on_real_file", closed)
    monkeypatch.setattr(decide, "LatencyCost", object)
    monkeypatch.setattr(decide, "is_timed", lambda config: True)
    return config(sources, **DCP, budget="0.9x"), asked


def test_under_milliseconds_it_selects_once_at_the_widths_that_were_timed(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, attempts = in_milliseconds(sources, monkeypatch)
    selections = counted(monkeypatch)
    summary = prune(settings, tmp_path / "run")
    assert attempts == [3]
    assert len(selections) == 1
    assert selections[0] == {row.name: row.kept for row in summary.plan.groups if row.name in selections[0]}
    assert summary.plan.closing is not None


def test_widths_that_were_timed_before_an_interruption_are_not_timed_again(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, attempts = in_milliseconds(sources, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Dcp, "select", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prune(settings, tmp_path / "run")
    decided = read_record(tmp_path / "run" / f"{WIDTHS}.json", WidthsResult)
    selections = counted(monkeypatch)
    prune(settings, tmp_path / "run")
    assert attempts == [3]
    assert selections == [decided.widths]


def test_a_selection_that_makes_an_unsound_cut_is_refused(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = decide.find
    calls: list[int] = []

    def found(*arguments: Any) -> dict[str, str]:
        calls.append(1)
        return {"up.0": "a view"} if len(calls) == 2 else real(*arguments)

    monkeypatch.setattr(decide, "find", found)
    with pytest.raises(PlanError, match=r"the units that 'dcp' selects break group 'up\.0': a view"):
        prune(config(sources, **DCP), tmp_path / "run")


def test_a_front_scores_once_and_selects_at_every_budget(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selections = counted(monkeypatch)
    found = front(config(sources, **DCP, widths="magnitude"), ("0.8x", "0.5x"), tmp_path / "front")
    assert len(selections) == 2
    assert [point.kind for point in found.points] == ["dense", "pruned", "uniform", "pruned", "uniform"]
    assert (tmp_path / "front" / "0.5x" / STATE).exists()


@pytest.fixture(scope="module")
def kernels(sources: Path) -> tuple[Path, RunSummary]:
    return sources / "dkp", prune(config(sources, **DKP, budget="0.7x"), sources / "dkp")


def test_masks_outlive_the_whole_run(kernels: tuple[Path, RunSummary]) -> None:
    """Cut, norms measured anew, fine-tuned, saved and loaded."""
    network = checkpoint.load(kernels[0])
    assert sorted(network.masks) == ["down.0.weight", "up.0.weight"]
    for name, mask in network.masks.items():
        weight = network.module.get_parameter(name)
        assert mask.shape == weight.shape
        assert 0 < int(mask.sum()) < mask.numel()
        assert weight[~mask].abs().max() == 0


def test_results_say_that_it_is_a_reconstruction(kernels: tuple[Path, RunSummary]) -> None:
    run, summary = kernels
    assert summary.plan.method == "dkp (reconstructed) at widths of 'uniform'"
    assert "by dkp (reconstructed)" in report.report(run)


def test_removed_kernels_are_theoretical_macs_and_nothing_else(kernels: tuple[Path, RunSummary]) -> None:
    """64 positions x the kernels that are left, and the layers without a mask; the cut network's own MACs are dense."""
    run, summary = kernels
    network = checkpoint.load(run / "cut")
    gone = sum(64 * int((~mask).sum()) for mask in network.masks.values())
    assert summary.cut.kernel_macs == summary.cut.count.macs - gone
    assert summary.cut.count.macs == summary.cut.predicted_macs
    assert "theoretical MACs without removed kernels" in report.report(run)
    assert all(np.isfinite(value) for value in (summary.cut.kernel_macs, summary.test.pruned.value))


def test_a_run_without_kernels_says_nothing_of_them(selected: tuple[Path, RunSummary]) -> None:
    assert selected[1].cut.kernel_macs is None
    assert "theoretical" not in report.report(selected[0])

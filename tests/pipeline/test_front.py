"""Several budgets by one ranking, and the fastest network that loses little: what is done once is done once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tinyrun import config, written

from deploy_prune.budget.parse import parse
from deploy_prune.errors import BudgetError, ConfigError, DataError, TargetMissed
from deploy_prune.pipeline import max_drop, stages
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.front import FRONT, find_tightest, folder_name, front, rank_network
from deploy_prune.pipeline.max_drop import DROP, within_drop
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary
from deploy_prune.scoring.methods.legr import Legr
from deploy_prune.search_results import DropSearch, Front
from deploy_prune.train.evaluation import evaluate
from deploy_prune.values import Budget, Data, Network, Quality

LEGR: dict[str, Any] = {
    "method": "legr", "workers": "1",
    "method_options": {"candidates": 6, "population": 3, "tournament": 2, "images": 40, "norm_images": 40, "lag": 2,
                       "steps": 1, "finalists": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("front"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What was done how often: `fit` of the dense network, searches, fine-tunings, looks at the test split."""
    found: dict[str, list[Any]] = {"search": [], "train": [], "test": [], "pretrain": []}

    def counted(kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            found[kind].append(arguments)
            return real(*arguments, **options)

        return call

    monkeypatch.setattr(Legr, "score", counted("search", Legr.score))
    monkeypatch.setattr(stages, "train", counted("train", stages.train))
    monkeypatch.setattr(stages, "test", counted("test", stages.test))
    real = stages.train_dense

    def dense(work: Any) -> Any:
        found["pretrain"] += [1] * (work.config.pretrain is not None)
        return real(work)

    monkeypatch.setattr(stages, "train_dense", dense)
    return found


def settings(sources: Path, **changes: Any) -> RunConfig:
    return config(sources, **{**LEGR, **changes})


@pytest.mark.heavy
def test_one_search_makes_the_whole_front(sources: Path, tmp_path: Path, calls: dict[str, list[Any]]) -> None:
    found = front(settings(sources), ("0.8x", "0.6x", "0.4x"), tmp_path / "front")
    assert {kind: len(each) for kind, each in calls.items()} == {"search": 1, "pretrain": 1, "train": 6, "test": 6}
    kinds = [(point.kind, point.budget) for point in found.points]
    assert kinds == [("dense", "")] + [
        (kind, budget) for budget in ("0.8x", "0.6x", "0.4x") for kind in ("pruned", "uniform")
    ]
    dense, *rest = found.points
    for point in rest:
        assert point.macs <= float(point.budget[:-1]) * dense.macs
        assert (tmp_path / "front" / point.run / "summary.json").exists()
    assert read_record(tmp_path / "front" / FRONT, Front) == found


@pytest.mark.heavy
def test_the_dense_network_is_judged_once_for_all_runs(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run's records have it nevertheless."""
    judged: list[str] = []

    def noted(network: Network, split: Any, data: Data, **options: Any) -> Quality:
        judged.extend(["val" if split is data.val else "test"] * (not network.kept))
        return evaluate(network, split, data, **options)

    monkeypatch.setattr(stages, "evaluate", noted)
    front(settings(sources), ("0.8x", "0.5x"), tmp_path / "front")
    assert sorted(judged) == ["test", "val"]
    found = [read_record(run, RunSummary) for run in (tmp_path / "front").glob("*/summary.json")]
    assert len(found) == 4
    assert all((each.dense.val, each.test.dense) == (found[0].dense.val, found[0].test.dense) for each in found)


def test_a_front_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    """Not in runs that have not begun either: the dense network was judged on the old ones."""
    own = written(tmp_path)
    rank_network(settings(own), (parse("0.5x"),), tmp_path / "front")
    file = next(path for path in own.glob("*.py") if "_images(40, 3)" in path.read_text())
    file.write_text(file.read_text().replace("_images(40, 3)", "_images(44, 3)"))
    with pytest.raises(DataError, match="has changed since the run began: test had"):
        front(settings(own), ("0.5x",), tmp_path / "front", controls=False)


@pytest.mark.heavy
def test_the_same_call_does_nothing_again(sources: Path, tmp_path: Path, calls: dict[str, list[Any]]) -> None:
    once = front(settings(sources), ("0.8x", "0.5x"), tmp_path / "front", controls=False)
    done = {kind: len(each) for kind, each in calls.items()}
    again = front(settings(sources), ("0.8x", "0.5x"), tmp_path / "front", controls=False)
    assert once == again
    assert {kind: len(each) for kind, each in calls.items()} == done


@pytest.mark.heavy
def test_a_ranking_is_cut_again_without_a_search(sources: Path, tmp_path: Path, calls: dict[str, list[Any]]) -> None:
    """Another cost, another budget: the scores of the first run."""
    from deploy_prune.pipeline.run import prune

    prune(settings(sources, budget="0.5x"), tmp_path / "first")
    prune(settings(sources, budget="params=0.5x", scores=tmp_path / "first"), tmp_path / "second")
    assert len(calls["search"]) == 1


@pytest.mark.parametrize(("budgets", "said"), [
    (("0.5x", "params=0.5x"), "of several kinds"), (("0.5x", "100kMACs"), "of several kinds"),
    (("0.5x", "0.50x"), "given twice"),
])  # fmt: skip
def test_budgets_that_make_no_front_are_refused(budgets: tuple[str, ...], said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        find_tightest([parse(text) for text in budgets])


def test_the_tightest_budget_decides_the_search() -> None:
    assert find_tightest([parse(text) for text in ("8ms", "4ms", "6ms")]).text == "4ms"


def test_folder_names_stay_in_their_folder() -> None:
    assert folder_name(parse("latency=0.5x")) == "latency-0.5x"
    assert "/" not in folder_name(Budget("macs", 0.5, True, "../../0.5x"))


@pytest.mark.heavy
def test_the_fastest_network_within_a_drop(sources: Path, tmp_path: Path, calls: dict[str, list[Any]]) -> None:
    """Everything is allowed: the tightest budget. Each budget is trained once, the test split is looked at once."""
    search, summary = within_drop(settings(sources, budget="0.4x"), 100.0, tmp_path / "drop")
    assert search.found == folder_name(parse(search.tries[-1].budget))
    assert summary.cut.count.macs <= 0.4 * summary.dense.count.macs
    assert len(calls["test"]) == len(calls["search"]) == len(calls["pretrain"]) == 1
    assert len(calls["train"]) == len(search.tries) == len({each.budget for each in search.tries})
    assert read_record(tmp_path / "drop" / DROP, DropSearch) == search


@pytest.mark.heavy
def test_a_drop_that_no_network_keeps_is_said(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = max_drop.train_pruned

    def worse(*arguments: Any, **options: Any) -> Any:
        trained = real(*arguments, **options)
        return dataclasses.replace(trained, val=dataclasses.replace(trained.val, value=-1.0))

    monkeypatch.setattr(max_drop, "train_pruned", worse)
    with pytest.raises(TargetMissed, match="no network loses at most 1 points of top-1 on validation"):
        within_drop(settings(sources, budget="0.4x"), 1.0, tmp_path / "drop")
    assert not read_record(tmp_path / "drop" / DROP, DropSearch).found
    assert not list((tmp_path / "drop").glob("*/test-1.json"))


@pytest.mark.parametrize("first", range(17))
def test_bisection_finds_the_first_that_fits(first: int) -> None:
    asked: list[int] = []

    def fits(level: int) -> bool:
        asked.append(level)
        return level >= first

    assert max_drop._tightest_that(fits, 16) == (first if first < 16 else None)
    assert len(asked) == len(set(asked)) <= 5


def test_a_drop_of_nothing_is_refused(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leaves no network"):
        within_drop(settings(sources), 0.0, tmp_path / "drop")


def test_the_report_tells_of_the_search(sources: Path, tmp_path: Path) -> None:
    from deploy_prune.pipeline.run import prune

    prune(settings(sources, budget="0.5x"), tmp_path / "run")
    report = (tmp_path / "run/report.md").read_text()
    assert "Search: 6 candidates" in report
    assert "best identity" in report

"""Several budgets by one ranking, and the fastest network that loses little: what is done once is done once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from listening import Counting
from tinyrun import config, written
from torch import Tensor, nn

from deploy_prune.budget.parse import parse
from deploy_prune.errors import BudgetError, ConfigError, DataError, TargetMissed
from deploy_prune.pipeline import max_drop
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.front import FRONT, find_tightest, folder_name, front, rank_network, share_base
from deploy_prune.pipeline.max_drop import DROP, within_drop
from deploy_prune.records import read_record, sha256
from deploy_prune.results import RunSummary
from deploy_prune.search_results import SEARCH, DropSearch, Front, SearchRecord
from deploy_prune.sources import checkpoint
from deploy_prune.sources.data import read_data
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.values import Budget, Data, Network

LEGR: dict[str, Any] = {
    "method": "legr", "workers": "1",
    "method_options": {"candidates": 6, "population": 3, "tournament": 2, "images": 40, "norm_images": 40, "lag": 2,
                       "finalists": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("front"))


def count_work(heard: Counting) -> dict[str, int]:
    """How often what costs time was done: searches, trainings of the dense network, fine-tunings, looks at test."""
    work = {
        "search": ("search", "planning: search"), "pretrain": ("dense: training",), "train": ("trained-1",),
        "test": ("test-1",),
    }  # fmt: skip
    return {kind: sum(heard.times[task] for task in tasks) for kind, tasks in work.items()}


def settings(sources: Path, **changes: Any) -> RunConfig:
    return config(sources, **{**LEGR, **changes})


@pytest.mark.heavy
def test_one_search_makes_the_whole_front(sources: Path, tmp_path: Path) -> None:
    heard = Counting()
    found = front(settings(sources), ("0.8x", "0.6x", "0.4x"), tmp_path / "front", progress=heard)
    assert count_work(heard) == {"search": 1, "pretrain": 1, "train": 6, "test": 6}
    kinds = [(point.kind, point.budget) for point in found.points]
    assert kinds == [("dense", "")] + [
        (kind, budget) for budget in ("0.8x", "0.6x", "0.4x") for kind in ("pruned", "uniform")
    ]
    dense, *rest = found.points
    for point in rest:
        assert point.macs <= float(point.budget[:-1]) * dense.macs
        assert (tmp_path / "front" / point.run / "summary.json").exists()
    assert read_record(tmp_path / "front" / FRONT, Front) == found
    assert "groups cut" in (tmp_path / "front" / "report.html").read_text()


@pytest.mark.heavy
def test_the_dense_network_is_judged_once_for_all_runs(sources: Path, tmp_path: Path) -> None:
    """The metric knows the dense network by its answers. Every run's records have its quality nevertheless."""
    judged: list[bytes] = []

    def metric(outputs: Tensor, labels: Tensor) -> Tensor:
        judged.append(outputs.numpy().tobytes())
        return outputs.argmax(dim=1) == labels

    asked = settings(sources)
    front(asked, ("0.8x", "0.5x"), tmp_path / "front", hooks=Hooks(metric=metric))
    of_front = tuple(judged)
    dense, data = checkpoint.load(tmp_path / "front/dense"), read_data(asked.data)
    for split in (data.val, data.test):
        evaluate(dense, split, data, hooks=Hooks(metric=metric))
        assert of_front.count(judged[-1]) == 1
    found = [read_record(run, RunSummary) for run in (tmp_path / "front").glob("*/summary.json")]
    assert len(found) == 4
    assert all((each.dense.val, each.test.dense) == (found[0].dense.val, found[0].test.dense) for each in found)


@pytest.mark.heavy
def test_the_dense_network_is_exported_once_and_every_run_has_its_file(sources: Path, tmp_path: Path) -> None:
    asked = settings(sources, targets=("onnx",))
    front(asked, ("0.8x", "0.5x"), tmp_path / "front", controls=False)
    shipped = [read_record(run, RunSummary).ship for run in (tmp_path / "front").glob("*/summary.json")]
    assert len(shipped) == 2 and all(
        row.status == "verified" for each in shipped for row in (*each.dense, *each.pruned)
    )
    files = sorted((tmp_path / "front").glob("*/export-1/dense.onnx"))
    dense = [row.artifact for each in shipped for row in each.dense if row.artifact]
    assert len(files) == 2 and {Path(each.path) for each in dense} == set(files)
    assert len({sha256(file) for file in files} | {each.sha256 for each in dense}) == 1
    assert len({each.seconds for each in dense}) == 1  # it took no second conversion


def test_a_front_does_not_go_on_with_other_images(tmp_path: Path) -> None:
    """Not in runs that have not begun either: the dense network was judged on the old ones."""
    own = written(tmp_path)
    out = tmp_path / "front"
    rank_network(settings(own), (parse("0.5x"),), share_base(settings(own), out))
    file = next(path for path in own.glob("*.py") if "_images(40, 3)" in path.read_text())
    file.write_text(file.read_text().replace("_images(40, 3)", "_images(44, 3)"))
    with pytest.raises(DataError, match="has changed since the run began: test had"):
        front(settings(own), ("0.5x",), tmp_path / "front", controls=False)


@pytest.mark.heavy
def test_the_same_call_does_nothing_again(sources: Path, tmp_path: Path) -> None:
    heard = Counting()
    once = front(settings(sources), ("0.8x", "0.5x"), tmp_path / "front", controls=False)
    again = front(settings(sources), ("0.8x", "0.5x"), tmp_path / "front", controls=False, progress=heard)
    assert once == again
    assert not heard.times


@pytest.mark.heavy
def test_a_ranking_is_cut_again_without_a_search(sources: Path, tmp_path: Path) -> None:
    """Another cost, another budget: the scores of the first run."""
    from deploy_prune.pipeline.run import prune

    first, second = Counting(), Counting()
    prune(settings(sources, budget="0.5x"), tmp_path / "first", progress=first)
    prune(settings(sources, budget="params=0.5x", scores=tmp_path / "first"), tmp_path / "second", progress=second)
    assert [count_work(heard)["search"] for heard in (first, second)] == [1, 0]


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
def test_the_fastest_network_within_a_drop(sources: Path, tmp_path: Path) -> None:
    """Everything is allowed: the tightest budget. Each budget is trained once, the test split is looked at once."""
    heard = Counting()
    search, summary = within_drop(settings(sources, budget="0.4x"), 100.0, tmp_path / "drop", progress=heard)
    assert search.found == folder_name(parse(search.tries[-1].budget))
    assert summary.cut.count.macs <= 0.4 * summary.dense.count.macs
    budgets = {each.budget for each in search.tries}
    assert len(search.tries) == len(budgets)
    assert count_work(heard) == {"search": 1, "pretrain": 1, "train": len(budgets), "test": 1}
    assert read_record(tmp_path / "drop" / DROP, DropSearch) == search


@pytest.mark.heavy
def test_a_drop_that_no_network_keeps_is_said(sources: Path, tmp_path: Path) -> None:
    """Trained by the caller, the dense network answers 1 and every cut one 0, which the metric takes as it is."""

    def fit(network: Network, data: Data, recipe: Recipe) -> nn.Module:
        nn.init.constant_(network.module.head.weight, 0.0)
        nn.init.constant_(network.module.head.bias, float(not network.kept))
        return network.module

    def first(outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs[:, 0]

    with pytest.raises(TargetMissed, match=r"no network loses at most 1 points of first .* it is 100\.00"):
        within_drop(settings(sources, budget="0.4x"), 1.0, tmp_path / "drop", hooks=Hooks(fit=fit, metric=first))
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
    search = read_record(tmp_path / "run" / SEARCH, SearchRecord)
    assert f"Search: {len(search.tried)} candidates" in report
    assert search.ended in report
    assert "best identity" in report

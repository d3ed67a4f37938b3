"""LeGR: the score worked out by hand, what a search writes, and that its result depends on nothing but its settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from searches import SETTINGS, Counting, journal, same, scores
from studies import stack, stripes, study, trained
from torch import Tensor
from torch.nn import functional

from deploy_prune import plugins
from deploy_prune.errors import BudgetError, ConfigError, Diverged
from deploy_prune.scoring.evolution.affine_ranking import ranking_of
from deploy_prune.scoring.evolution.ageing import Genome
from deploy_prune.scoring.evolution.journal import digest
from deploy_prune.scoring.methods.obs import Obs
from deploy_prune.scoring.study import Study
from deploy_prune.train.fitness import Exam, Examiner, Fitness, judge_candidate, prepare_examiner
from deploy_prune.train.recipe import Hooks
from deploy_prune.values import Network, Scores


@pytest.fixture(scope="module")
def knows_stripes() -> Network:
    return trained(stack(), stripes())


def with_workers(of: Study, workers: Any) -> Study:
    return dataclasses.replace(of, workers=workers)


def test_a_score_is_scale_times_squared_norm_plus_shift(knows_stripes: Network, tmp_path: Path) -> None:
    """The pairs are the best candidate's, as the journal has them."""
    found = scores(study(knows_stripes, stripes(), folder=tmp_path))
    search = journal(tmp_path)
    weights = dict(knows_stripes.module.named_parameters())
    for group, values in found.items():
        place = search.groups.index(group)
        norms = weights[f"{group}.weight"].detach().double().square().sum(dim=(1, 2, 3)).numpy()
        assert values == pytest.approx(search.scale[place] * norms + search.shift[place])


@pytest.mark.parametrize(("reduce", "divisor"), [("mean", 2), ("sum", 1)])
def test_the_layers_of_a_group_are_reduced_as_asked(reduce: str, divisor: int) -> None:
    from nets import NETS

    network = NETS["residual"]()  # a and c make one group
    of = study(network)
    only_identity = {"candidates": 1, "population": 1, "tournament": 1, "lag": 1, "reduce": reduce}
    found = scores(of, **only_identity)
    squares = [
        network.module.get_submodule(name).weight.detach().double().square().sum(dim=(1, 2, 3)) for name in ("a", "c")
    ]
    assert found["a"] == pytest.approx(((squares[0] + squares[1]) / divisor).numpy())


def test_no_candidate_changes_the_order_within_a_group() -> None:
    """Also not where several layers make a group: the search decides how many units stay, their norms which."""
    from nets import NETS

    of = study(NETS["residual"]())
    ranking = ranking_of(of.network, of.graph)
    drawn = np.random.default_rng(0)
    for _ in range(5):
        genome = Genome(np.exp(drawn.normal(0, 1, len(ranking.sizes))), drawn.normal(0, 1, len(ranking.sizes)))
        for group, values in ranking.scores(genome).by_group.items():
            assert np.argsort(values).tolist() == np.argsort(ranking.sizes[group]).tolist()


def test_by_obs_a_search_tries_its_plan_and_keeps_its_order_of_units(knows_stripes: Network, tmp_path: Path) -> None:
    of = study(knows_stripes, stripes(), folder=tmp_path)
    found = scores(of, importance="obs")
    curves = Obs().score(of)
    assert of.plan
    plan, search = of.plan(curves), journal(tmp_path)
    (begun,) = [each for each in search.tried if each.origin == "identity"]
    assert begun.plan == digest(plan)
    assert len({each.plan for each in search.tried}) > 3
    assert not any(search.shift)
    for name, values in found.items():
        assert np.argsort(values).tolist() == np.argsort(curves.by_group[name]).tolist()


def test_the_best_candidate_is_no_worse_than_the_identity(knows_stripes: Network, tmp_path: Path) -> None:
    scores(study(knows_stripes, stripes(), folder=tmp_path))
    search = journal(tmp_path)
    losses = {each.number: each.loss for each in search.tried if each.loss is not None}
    assert search.best == min(losses, key=lambda number: losses[number])
    assert [each.origin for each in search.tried[:6]] == ["random"] * 3 + ["uniform", "identity", "bred"]
    assert len(search.tried) == 14
    assert search.ended == "all candidates judged"


def test_the_journal_says_what_was_judged(knows_stripes: Network, tmp_path: Path) -> None:
    """The same plan, judged by hand, has the loss that the journal has."""
    of = study(knows_stripes, stripes(), folder=tmp_path)
    found = plugins.build("methods", "legr", SETTINGS).score(of)
    search = journal(tmp_path)
    assert search.best is not None
    best = search.tried[search.best]
    assert of.plan
    keep = of.plan(found)
    assert best.widths == tuple(len(keep[name]) for name in search.groups)
    prepared = prepare_examiner(knows_stripes, of.graph, stripes(), Exam(images=60, norm_images=40), seed=0)
    (again,) = plugins.build("workers", "local", {"processes": 1}).map(
        judge_candidate, prepared, [keep], ahead=1
    )  # one thread
    assert again.loss == best.loss


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("processes", "options"),
    [
        (1, {}), (2, {}), (3, {}), (2, {"steps": 2, "finalists": 4}),
        (2, {"steps": None, "judge": "maps", "importance": "obs", "finalists": 4}),
    ],
)  # fmt: skip
def test_any_number_of_workers_finds_the_same(
    knows_stripes: Network, tmp_path: Path, processes: int, options: dict[str, Any]
) -> None:
    alone = scores(study(knows_stripes, stripes(), folder=tmp_path / "alone"), **options)
    several = plugins.build("workers", "local", {"processes": processes})
    together = scores(study(knows_stripes, stripes(), workers=several, folder=tmp_path / "together"), **options)
    assert same(alone, together)
    one, other = journal(tmp_path / "alone"), journal(tmp_path / "together")
    assert [each.loss for each in one.tried + one.finals] == [each.loss for each in other.tried + other.finals]
    assert one.generator == other.generator


def test_a_plan_is_judged_once(knows_stripes: Network, tmp_path: Path) -> None:
    """Under a budget of nearly everything many candidates are one plan."""
    count = Counting()
    of = study(knows_stripes, stripes(), budget=0.995, folder=tmp_path, workers=count)
    scores(of, candidates=30, population=20, lag=1)
    tried = journal(tmp_path).tried
    assert count.judged == len({each.plan for each in tried}) < len(tried)


def test_a_plan_that_was_proposed_before_is_drawn_again(knows_stripes: Network, tmp_path: Path) -> None:
    """All but those that stay one after twenty draws; with one draw a good part of them tells nothing new."""
    scores(study(knows_stripes, stripes(), folder=tmp_path), candidates=40)
    tried = journal(tmp_path).tried
    assert len({each.plan for each in tried}) >= 38


def test_random_scales_are_drawn_around_groups_of_equal_sizes(knows_stripes: Network, tmp_path: Path) -> None:
    of = study(knows_stripes, stripes(), folder=tmp_path)
    sizes = ranking_of(knows_stripes, of.graph)
    assert sizes.centre * sizes.means == pytest.approx([np.mean(sizes.means)] * len(sizes.means))


def test_the_uniform_candidate_keeps_what_uniform_widths_keep(knows_stripes: Network, tmp_path: Path) -> None:
    """Under this budget, to within the last unit of a group."""
    of = study(knows_stripes, stripes(), folder=tmp_path)
    scores(of)
    search = journal(tmp_path)
    (tried,) = [each for each in search.tried if each.origin == "uniform"]
    assert of.plan
    alike = of.plan(plugins.build("methods", "uniform").score(of))
    widths = [len(alike[group]) for group in search.groups]
    assert np.abs(np.subtract(tried.widths, widths)).max() <= 1
    assert widths != [group.width for group in of.graph.free]


@pytest.mark.parametrize("width", [1, 3, 8])
def test_a_map_is_zero_where_a_width_is_cut(width: int) -> None:
    of = study(stack())
    ranking = ranking_of(of.network, of.graph)
    found = ranking.scores(ranking.cut_at([width] * len(ranking.sizes))).by_group.values()
    assert [int((values >= 0).sum()) for values in found] == [min(width, values.size) for values in found]
    deviations = [float(values.std()) for values in found]
    assert deviations == pytest.approx([deviations[0]] * len(deviations))


class Noting:
    """Workers that note what candidates share and judge nothing: the first is the best."""

    def __init__(self) -> None:
        self.shared: list[Examiner] = []

    def map(self, task: Any, shared: Any, items: Any, *, ahead: int) -> Iterator[Fitness]:
        self.shared.append(shared)
        return (Fitness(float(number), 0.5, 0.0) for number, _ in enumerate(items))


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        pytest.param({"steps": None}, [20, 400], id="a cut that still sees"),
        pytest.param({"steps": 3}, [3, 12], id="as many as asked for"),
        pytest.param({"steps": 0}, [0, 400], id="none"),
        pytest.param({"steps": None, "finalists": 0}, [20], id="no finalists"),
        pytest.param({"steps": None, "judge": "maps"}, [0, 0], id="maps"),
        pytest.param({"steps": 3, "judge": "maps"}, [3, 12], id="maps, and then steps"),
    ],
)
def test_finalists_are_looked_at_more_closely_than_candidates(
    knows_stripes: Network, options: dict[str, Any], steps: list[int]
) -> None:
    noting = Noting()
    scores(with_workers(study(knows_stripes, stripes(), budget=0.9), noting), **{"finalists": 8, **options})
    assert [each.steps for each in noting.shared] == steps
    by_maps = options.get("judge") == "maps"
    assert [bool(each.maps) for each in noting.shared] == [by_maps, False][: len(steps)]
    assert [each.refit_on is not None for each in noting.shared] == [False, by_maps][: len(steps)]


@pytest.mark.heavy
def test_candidates_are_judged_by_the_users_loss(knows_stripes: Network, tmp_path: Path) -> None:
    """In other processes too: a user's function may be from a file that these cannot import."""

    def twice(logits: Tensor, labels: Tensor) -> Tensor:
        return 2 * functional.cross_entropy(logits, labels)

    found = []
    for name, loss, processes in (("ours", None, 1), ("theirs", twice, 2)):
        of = study(knows_stripes, stripes(), folder=tmp_path / name, hooks=Hooks(loss=loss))
        scores(with_workers(of, plugins.build("workers", "local", {"processes": processes})))
        found.append(next(each.loss for each in journal(tmp_path / name).tried if each.origin == "identity"))
    assert found[1] == pytest.approx(2 * found[0])


def test_a_search_that_has_collapsed_says_so_and_one_by_obs_ends(knows_stripes: Network, tmp_path: Path) -> None:
    floor = study(knows_stripes, stripes())
    constant = {group.name: tuple(range(2)) for group in floor.graph.free}
    narrow = Study(floor.network, floor.graph, floor.data, 0, plan=lambda scores: constant)
    with pytest.raises(BudgetError, match="the search has collapsed: the last 5 candidates are one and the same plan"):
        scores(narrow)
    scores(dataclasses.replace(narrow, folder=tmp_path), importance="obs")
    search = journal(tmp_path)
    assert (len(search.tried), search.ended) == (5, "the last 5 candidates are one plan")


def test_patience_ends_a_search_early(knows_stripes: Network, tmp_path: Path) -> None:
    scores(study(knows_stripes, stripes(), folder=tmp_path), candidates=60, patience=6)
    search = journal(tmp_path)
    assert search.best is not None
    assert len(search.tried) == search.best + 7 < 60
    assert search.ended == "no better candidate among the last 6"


@pytest.mark.heavy
def test_steps_train_every_candidate_before_it_is_judged(knows_stripes: Network, tmp_path: Path) -> None:
    plain, tuned = tmp_path / "plain", tmp_path / "tuned"
    scores(study(knows_stripes, stripes(), folder=plain))
    scores(study(knows_stripes, stripes(), folder=tuned), steps=8)
    means = [np.mean([each.loss for each in journal(folder).tried[:5]]) for folder in (plain, tuned)]
    assert means[1] < means[0]


def test_finalists_are_the_known_and_the_best_and_the_best_of_them_is_the_result(
    knows_stripes: Network, tmp_path: Path
) -> None:
    found = scores(study(knows_stripes, stripes(), folder=tmp_path), steps=2, finalists=5)
    search = journal(tmp_path)
    assert len(search.finals) == len({each.plan for each in search.finals}) == 5
    assert {each.origin for each in search.finals[:2]} == {"uniform", "identity"}
    rest = sorted(each.loss for each in search.tried if each.loss and each.origin in ("random", "bred"))
    assert [search.tried[each.number].loss for each in search.finals[2:]] == rest[:3]
    won = min(search.finals, key=lambda each: each.loss or math.inf)
    assert search.best == won.number
    kept = study(knows_stripes, stripes()).plan(Scores(found))  # type: ignore[misc]
    assert tuple(len(kept[group]) for group in search.groups) == won.widths
    assert all(each.loss != search.tried[each.number].loss for each in search.finals)


def test_a_candidate_whose_loss_is_no_number_is_recorded_and_never_best(tmp_path: Path) -> None:
    network = stack()
    with torch.no_grad():
        network.module[5].bias[0] = math.nan
    with pytest.raises(Diverged, match="no candidate has a loss"):
        scores(study(network, stripes(), folder=tmp_path))
    assert {each.loss for each in journal(tmp_path).tried} == {None}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"reduce": "max"}, "reduce: Input should be 'mean' or 'sum', got 'max'"),
    ({"lag": 0}, "lag must be 1 or more, got 0"),
    ({"images": 0}, "images must be 1 or more, got 0"), ({"finalists": -1}, "finalists must be 0 or more, got -1"),
    ({"steps": -2}, "steps must be 0 or more, got -2"),
    ({"finalists": 2}, "has finalists=2"),
    ({"finalists": 1, "importance": "obs"}, "has finalists=1"),
    ({"importance": "taylor"}, "importance: Input should be 'norm' or 'obs', got 'taylor'"),
    ({"candidates": 3}, "candidates at least the population"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plugins.build("methods", "legr", {**SETTINGS, **wrong})


def test_without_images_or_a_budget_there_is_nothing_to_search() -> None:
    of = study(stack())
    with pytest.raises(ConfigError, match="needs images"):
        scores(Study(of.network, of.graph, None, 0, plan=of.plan))
    with pytest.raises(ConfigError, match="searches under a budget"):
        scores(Study(of.network, of.graph, of.data, 0))

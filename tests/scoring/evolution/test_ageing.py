"""Ageing evolution: what is drawn, who is parent to whom, and that nothing but the results decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.scoring.evolution.ageing import Breeding, Candidate, Evolution, Genome

SMALL = Breeding(candidates=40, population=8, tournament=3, mutation=0.1)
DEVIATION = np.array([1.0, 2.0, 0.5, 4.0])


def loss_of(candidate: Candidate) -> float:
    """Lowest where every scale is e and every shift 1."""
    genome = candidate.genome
    return float(((np.log(genome.scale) - 1) ** 2).sum() + ((genome.shift - 1) ** 2).sum())


def search(breeding: Breeding, *, seed: int = 0, lag: int = 1) -> tuple[Evolution, list[Candidate]]:
    """Candidates in their order, each proposed when all but the last `lag` - 1 before it have been admitted."""
    evolution, begun, found = Evolution(breeding, DEVIATION, seed), [], []
    for number in range(breeding.candidates):
        begun.append(evolution.propose(number))
        found.append(begun[-1])
        if len(begun) == lag:
            evolution.admit(begun[0], loss_of(begun.pop(0)))
    for candidate in begun:
        evolution.admit(candidate, loss_of(candidate))
    return evolution, found


def test_the_first_population_is_random_and_ends_with_the_identity() -> None:
    _, found = search(SMALL)
    assert [each.origin for each in found[:9]] == ["random"] * 7 + ["identity", "bred"]
    identity = found[7].genome
    assert identity.scale.tolist() == [1.0] * 4
    assert identity.shift.tolist() == [0.0] * 4


def test_what_is_known_comes_before_the_identity() -> None:
    given = Genome(np.full(4, 2.0), np.full(4, -1.0))
    evolution = Evolution(SMALL, DEVIATION, 0, known=[("uniform", given)])
    origins = [evolution.propose(number).origin for number in range(8)]
    assert origins == ["random"] * 6 + ["uniform", "identity"]
    assert evolution.propose(6).genome is given


def test_random_candidates_all_differ() -> None:
    """A port of the method reseeds before every proposal: all of its first population is one candidate."""
    _, found = search(SMALL)
    assert len({tuple(each.genome.scale) for each in found[:7]}) == 7


def test_random_scales_lie_around_the_centre_and_shifts_are_as_large_as_scores() -> None:
    """Median over many draws; the identity is what it is."""
    many, centre = Breeding(candidates=2001, population=2001, tournament=1), np.array([1.0, 10.0, 0.1, 3.0])
    evolution = Evolution(many, DEVIATION, 0, centre)
    drawn = [evolution.propose(number).genome for number in range(2000)]
    assert np.median([genome.scale for genome in drawn], axis=0) == pytest.approx(centre, rel=0.1)
    uniform_spread = 3**-0.5  # root mean square of what is drawn from 0 to 1
    assert np.std([genome.shift for genome in drawn], axis=0) == pytest.approx(
        uniform_spread * DEVIATION * centre, rel=0.1
    )
    assert evolution.propose(2000).genome.scale.tolist() == [1.0] * 4


def test_random_candidates_lie_near_the_centre_and_far_from_it() -> None:
    """There are many groups at once: if all had one spread, none of them would be near."""
    groups = 100
    many = Breeding(candidates=201, population=201, tournament=1)
    evolution = Evolution(many, np.ones(groups), 0)
    spreads = [np.log(evolution.propose(number).genome.scale).std() for number in range(200)]
    assert np.quantile(spreads, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.1)


def test_steps_of_every_size_are_taken_and_those_of_shifts_cool_as_well() -> None:
    """A child of every group at once, early in a search and at its end."""
    early, late = (_steps(number) for number in (10, 1990))
    assert np.quantile(early, [0.1, 0.9]) == pytest.approx([0.1, 0.9], abs=0.1)
    assert np.quantile(late, [0.1, 0.9]) == pytest.approx([0.1 / 5, 0.9 / 5], abs=0.03)


def _steps(number: int) -> list[float]:
    """Deviation of the shifts of many children of the identity, in those of their groups."""
    groups = 100
    evolution = Evolution(Breeding(2000, 1, 1, mutation=1.0), np.full(groups, 2.0), 0)
    evolution.admit(evolution.propose(0), 1.0)
    return [float((evolution.propose(number).genome.shift / 2.0).std()) for _ in range(200)]


def test_asked_again_the_same_number_is_another_candidate() -> None:
    evolution = Evolution(SMALL, DEVIATION, 0)
    one, other = evolution.propose(0), evolution.propose(0)
    assert one.number == other.number == 0
    assert not np.array_equal(one.genome.scale, other.genome.scale)


def test_a_child_changes_one_layer_at_least() -> None:
    """A tenth of four layers is none, and then nothing would ever be found."""
    _, found = search(SMALL)
    for child in found[8:]:
        parent = found[child.parent].genome if child.parent is not None else None
        assert parent is not None
        changed = (child.genome.scale != parent.scale) | (child.genome.shift != parent.shift)
        assert changed.sum() == 1


def test_more_layers_change_where_the_share_says_so() -> None:
    _, found = search(Breeding(candidates=30, population=8, tournament=3, mutation=0.5))
    child = found[20]
    assert child.parent is not None
    assert (child.genome.scale != found[child.parent].genome.scale).sum() == 2


def test_parents_are_among_the_youngest_that_were_admitted() -> None:
    """Ageing: the oldest leaves, however good it is."""
    lag = 4
    _, found = search(SMALL, lag=lag)
    for child in found[SMALL.population :]:
        if child.parent is not None:
            assert child.number - lag - SMALL.population < child.parent <= child.number - lag


def test_the_best_ever_is_remembered_though_it_has_left() -> None:
    evolution = Evolution(Breeding(candidates=30, population=2, tournament=1), DEVIATION, 0)
    for number in range(30):
        evolution.admit(evolution.propose(number), 0.1 if number == 3 else 1.0)
    assert evolution.best is not None
    assert (evolution.best[0], evolution.best[1].number) == (0.1, 3)


def test_a_loss_that_is_no_number_never_wins() -> None:
    evolution = Evolution(SMALL, DEVIATION, 0)
    evolution.admit(evolution.propose(0), math.inf)
    evolution.admit(evolution.propose(1), 2.0)
    assert evolution.best is not None
    assert evolution.best[1].number == 1


def test_the_search_finds_what_random_draws_do_not() -> None:
    """Mean over ten searches; candidates of one search are compared with as many random ones."""
    breeding = Breeding(candidates=200, population=16, tournament=4, mutation=0.25)
    bred, drawn = [], []
    for seed in range(10):
        evolution, _ = search(breeding, seed=seed)
        assert evolution.best is not None
        bred.append(evolution.best[0])
        many, _ = search(Breeding(candidates=201, population=201), seed=seed)
        assert many.best is not None
        drawn.append(many.best[0])
    assert np.mean(bred) < 0.7 * np.mean(drawn)


@given(seed=st.integers(0, 2**32), lag=st.integers(1, 12))
def test_the_same_seed_and_lag_give_the_same_search(seed: int, lag: int) -> None:
    one, other = search(SMALL, seed=seed, lag=lag)[1], search(SMALL, seed=seed, lag=lag)[1]
    assert all(np.array_equal(a.genome.scale, b.genome.scale) for a, b in zip(one, other, strict=True))
    assert [a.parent for a in one] == [b.parent for b in other]


@given(lag=st.integers(9, 20))
def test_a_lag_longer_than_the_population_draws_at_random_until_results_are_there(lag: int) -> None:
    _, found = search(SMALL, lag=lag)
    assert [each.origin for each in found[SMALL.population : lag]] == ["random"] * (lag - SMALL.population)


@pytest.mark.parametrize(
    "wrong", [{"population": 0}, {"tournament": 0}, {"candidates": 3}, {"mutation": 0}, {"mutation": 1.5}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"population and tournament|mutation"):
        Breeding(**{"candidates": 10, "population": 5, **wrong})  # type: ignore[arg-type]

"""A search that is killed goes on to the same result, and only with a journal of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from searches import Counting, Killed, journal, same, scores
from studies import stack, stripes, study, trained, with_folder

from deploy_prune.errors import RecordError
from deploy_prune.search_results import SEARCH
from deploy_prune.values import Network


@pytest.fixture(scope="module")
def knows_stripes() -> Network:
    return trained(stack(), stripes())


@pytest.mark.parametrize("after", [0, 1, 7, 13])
def test_a_killed_search_goes_on_to_the_same_result(knows_stripes: Network, tmp_path: Path, after: int) -> None:
    undisturbed = scores(study(knows_stripes, stripes(), folder=tmp_path / "undisturbed"))
    of = study(knows_stripes, stripes(), folder=tmp_path / "killed", workers=Killed(after))
    with pytest.raises(KeyboardInterrupt):
        scores(of)
    count = Counting()
    again = scores(study(knows_stripes, stripes(), folder=tmp_path / "killed", workers=count))
    assert same(undisturbed, again)
    one, other = journal(tmp_path / "undisturbed"), journal(tmp_path / "killed")
    assert [(each.plan, each.loss) for each in one.tried] == [(each.plan, each.loss) for each in other.tried]
    assert count.judged <= 14 - after


def test_what_a_killed_search_knew_survives_a_second_kill(knows_stripes: Network, tmp_path: Path) -> None:
    """While it repeats what it knows, it must not write a shorter journal."""
    for after in (9, 2):
        with pytest.raises(KeyboardInterrupt):
            scores(study(knows_stripes, stripes(), folder=tmp_path, workers=Killed(after)))
        assert len(journal(tmp_path).tried) == 9


@pytest.mark.heavy
@pytest.mark.parametrize("after", [14, 16])
@pytest.mark.parametrize("options", [{"steps": 2}, {"steps": None, "judge": "maps"}], ids=["trained", "refitted"])
def test_a_search_killed_among_its_finalists_goes_on_to_the_same_result(
    knows_stripes: Network, tmp_path: Path, after: int, options: dict[str, Any]
) -> None:
    """Nothing that was judged is judged again."""
    options = {**options, "finalists": 4}
    undisturbed = scores(study(knows_stripes, stripes(), folder=tmp_path / "undisturbed"), **options)
    killed = Killed(after)
    with pytest.raises(KeyboardInterrupt):
        scores(study(knows_stripes, stripes(), folder=tmp_path / "killed", workers=killed), **options)
    assert len(journal(tmp_path / "killed").finals) == after - 14
    count = Counting()
    again = scores(study(knows_stripes, stripes(), folder=tmp_path / "killed", workers=count), **options)
    assert same(undisturbed, again)
    assert count.judged == 14 + 4 - after
    assert journal(tmp_path / "killed").finals[0].plan == journal(tmp_path / "undisturbed").finals[0].plan


def test_a_journal_of_another_search_is_refused(knows_stripes: Network, tmp_path: Path) -> None:
    of = study(knows_stripes, stripes(), folder=tmp_path)
    scores(of)
    for other in ({"images": 50}, {"importance": "obs"}, {"judge": "maps"}):
        with pytest.raises(RecordError, match="is of another search"):
            scores(of, **other)
    with pytest.raises(RecordError, match="is of another search"):
        scores(with_folder(study(stack(seed=1), stripes()), tmp_path))


def test_a_damaged_journal_is_refused(knows_stripes: Network, tmp_path: Path) -> None:
    (tmp_path / SEARCH).write_text(json.dumps({"schema": 1})[:-3])
    with pytest.raises(RecordError, match="damaged"):
        scores(study(knows_stripes, stripes(), folder=tmp_path))

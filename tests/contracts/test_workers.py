"""What whoever computes candidates promises: results in order, never too far ahead, the same on any number."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, Unavailable
from deploy_prune.processes.workers import run_in_order

HAS_RAY = importlib.util.find_spec("ray") is not None
WITHOUT_RAY = pytest.mark.skipif(not HAS_RAY, reason="extra `ray` is not installed")
# Ray's start forks; JAX, which a converter that another test used has loaded, warns of that.
FORKS = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
RAY = pytest.param("ray", {"processes": 2}, marks=[pytest.mark.slow, WITHOUT_RAY, FORKS])
WORKERS = [("local", {"processes": 1}), ("local", {"processes": 2}), RAY]


def add(shared: int, item: int) -> int:
    return shared + item


def slow_first(shared: object, item: int) -> int:
    time.sleep(0.3 if item == 0 else 0)
    return item


def fail(shared: object, item: int) -> int:
    if item == 2:
        raise ValueError("item 2 is wrong")
    return item


def die(shared: object, item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def threads(shared: object, item: int) -> int:
    return torch.get_num_threads()


def convolve(shared: torch.Tensor, item: int) -> list[float]:
    torch.manual_seed(item)
    found: list[float] = torch.nn.functional.conv2d(shared, torch.randn(16, 8, 3, 3)).sum(dim=(2, 3)).flatten().tolist()
    return found


def built(name: str, options: dict[str, Any]) -> Any:
    return plugins.build("workers", name, options)


@pytest.mark.parametrize(("name", "options"), WORKERS)
class TestWorkers:
    @pytest.mark.heavy
    def test_results_keep_the_order_of_the_items(self, name: str, options: dict[str, Any]) -> None:
        assert list(built(name, options).map(slow_first, None, range(6), ahead=4)) == list(range(6))

    @pytest.mark.heavy
    def test_all_tasks_see_what_they_share(self, name: str, options: dict[str, Any]) -> None:
        assert list(built(name, options).map(add, 40, [1, 2, 3], ahead=2)) == [41, 42, 43]

    @pytest.mark.heavy
    def test_an_item_is_taken_only_when_results_have_come_back(self, name: str, options: dict[str, Any]) -> None:
        """The item after the next three depends on the first result, as the window is 3."""
        back: list[int] = []
        seen_when_taken: list[int] = []

        def items() -> Iterator[int]:
            for number in range(8):
                seen_when_taken.append(len(back))
                yield number

        back.extend(built(name, options).map(add, 0, items(), ahead=3))
        assert seen_when_taken == [0, 0, 0, 1, 2, 3, 4, 5]

    @pytest.mark.heavy
    def test_what_a_task_raises_reaches_the_caller(self, name: str, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="item 2 is wrong"):
            list(built(name, options).map(fail, None, range(4), ahead=2))

    @pytest.mark.heavy
    def test_each_has_the_threads_that_were_asked_for(self, name: str, options: dict[str, Any]) -> None:
        before = torch.get_num_threads()
        assert set(built(name, options).map(threads, None, range(3), ahead=3)) == {1}
        assert torch.get_num_threads() == before

    @pytest.mark.heavy
    def test_sums_of_floats_are_the_same_everywhere(self, name: str, options: dict[str, Any]) -> None:
        torch.manual_seed(7)
        shared = torch.randn(4, 8, 20, 20)
        here = list(built("local", {"processes": 1}).map(convolve, shared, range(4), ahead=4))
        assert list(built(name, options).map(convolve, shared, range(4), ahead=4)) == here


@pytest.mark.slow
@pytest.mark.ci
@WITHOUT_RAY
@FORKS
def test_ray_is_started_and_ended_and_computes_the_same() -> None:
    import ray

    torch.manual_seed(7)
    shared = torch.randn(4, 8, 20, 20)
    here = list(built("local", {"processes": 1}).map(convolve, shared, range(4), ahead=4))
    assert list(built("ray", {"processes": 2}).map(convolve, shared, range(4), ahead=4)) == here
    assert not ray.is_initialized()


def test_no_items_are_no_results() -> None:
    assert list(run_in_order([], 3, lambda item: item, lambda item: item)) == []


@pytest.mark.heavy
def test_a_worker_that_is_killed_ends_the_search_with_a_reason() -> None:
    with pytest.raises(Unavailable, match="a worker process died"):
        list(built("local", {"processes": 2}).map(die, None, range(3), ahead=3))


@pytest.mark.parametrize("options", [{"processes": -1}, {"threads": 0}])
@pytest.mark.parametrize("name", plugins.list_names("workers"))
def test_numbers_that_make_no_sense_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="processes must be 0 or more, threads 1 or more"):
        built(name, options)


@pytest.mark.heavy
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Nothing is left behind that would go on computing."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, time
        from pathlib import Path
        from deploy_prune import plugins

        def task(shared, item):
            Path({str(tmp_path)!r}, f"pid-{{os.getpid()}}").touch()
            time.sleep(60)

        if __name__ == "__main__":
            list(plugins.build("workers", "local", {{"processes": 2}}).map(task, None, range(2), ahead=2))
        """)
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as parent:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("pid-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]

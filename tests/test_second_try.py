"""What a process was killed over is done once more, and only once."""

from __future__ import annotations

import pytest

from deploy_prune.causes import is_out_of_memory
from deploy_prune.errors import ExportFailed, WorkerDied
from deploy_prune.second_try import try_twice


class Work:
    """Dies as often as it is told to."""

    def __init__(self, deaths: int) -> None:
        self.deaths, self.calls = deaths, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.deaths:
            raise WorkerDied(f"death {self.calls}", hint="wait")
        return self.calls


def test_a_death_costs_a_second_try() -> None:
    assert try_twice(Work(deaths=1)) == 2


def test_two_deaths_are_an_error() -> None:
    work = Work(deaths=5)
    with pytest.raises(WorkerDied, match="death 2") as caught:
        try_twice(work)
    assert work.calls == 2 and caught.value.hint == "wait"


def test_tries_within_one_another_do_not_multiply() -> None:
    work = Work(deaths=5)
    with pytest.raises(WorkerDied):
        try_twice(lambda: try_twice(work))
    assert work.calls == 2


def test_other_errors_are_results() -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ExportFailed("no such operator")

    with pytest.raises(ExportFailed):
        try_twice(fail)
    assert len(calls) == 1


def test_memory_that_ran_out_is_told_from_what_a_vendor_made_of_it() -> None:
    allocator = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    for cause in (MemoryError(), allocator, RuntimeError("std::bad_alloc")):
        failed = ExportFailed("onnx could not convert it")
        failed.__cause__ = cause
        assert is_out_of_memory(failed)
    assert not is_out_of_memory(ExportFailed("this format cannot express an operator"))

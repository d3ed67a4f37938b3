"""Work in processes of its own: results in order, crashes contained, nothing left running."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from deploy_prune.errors import MissingLibrary, WorkerDied
from deploy_prune.processes.workshop import Outcome, Patience, Unsendable, open_workshop, run_each


def quiet(running: list[int], done: int) -> None:
    """Nobody watches."""


def multiplied(factor: int, item: int) -> int:
    return factor * item


def died(how: str, item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.Signals[how])
    return 10 * item


def ended(how: tuple[str, int, Path], item: int) -> int:
    """Ends by a signal, or without memory, as often as it is told to; it counts in a folder."""
    name, times, folder = how
    tries = len(list(folder.iterdir()))
    (folder / f"try-{tries}").touch()
    if tries < times:
        if name == "memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        os.kill(os.getpid(), signal.Signals[name])
    return 10 * item


def refused(_: None, item: int) -> int:
    if item == 1:
        raise ValueError("one is refused")
    return item


def imported(vendor: str, _: int) -> None:
    """What packages do: the loader's message is wrapped in one of their own."""
    try:
        importlib.import_module(vendor)
    except OSError as error:
        raise RuntimeError(f"{vendor} is not usable") from error


def littered(_: None, item: int) -> str:
    return tempfile.mkdtemp()


def noted(folder: Path, item: int) -> int:
    (folder / f"{item}-{os.getpid()}").touch()
    time.sleep(30)
    return item


def test_results_are_in_the_order_of_the_items() -> None:
    told: list[tuple[list[int], int]] = []
    with open_workshop() as shop:
        found = run_each(
            shop, multiplied, 3, [5, 6, 7], at_once=2, told=lambda running, done: told.append((running, done))
        )
    assert found == [Outcome(15), Outcome(18), Outcome(21)]
    assert max(len(running) for running, _ in told) == 2
    assert told[-1] == ([], 3)


def test_a_crash_costs_one_item() -> None:
    with open_workshop() as shop:
        one, two = run_each(shop, died, "SIGSEGV", [1, 2], at_once=2, told=quiet)
    assert one == Outcome(10)
    assert two.result is None
    assert two.died.startswith("SIGSEGV")


@pytest.mark.heavy
def test_what_does_not_end_is_given_up_after_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        open_workshop(patience=Patience(quiet_s=1.0, limit_s=3.0)) as shop,
        pytest.raises(WorkerDied, match="did not end in time"),
    ):
        run_each(shop, noted, tmp_path, [1], at_once=1, told=quiet)
    (started,) = tmp_path.iterdir()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.name.split("-")[1]), 0)
    assert "no converter or runtime has ended for 1 s; one that takes 3 s is given up" in caplog.text


def test_a_missing_system_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the workshop imports the package before anybody asks for it."""
    text = 'raise OSError("libstdc++.so.6: cannot open shared object file: No such file or directory")'
    (tmp_path / "fake_vendor.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with open_workshop(("fake_vendor",)) as shop, pytest.raises(MissingLibrary, match="apt install libstdc") as caught:
        run_each(shop, imported, "fake_vendor", [1], at_once=1, told=quiet)
    assert caught.value.message.startswith("the system library 'libstdc++.so.6' is not installed")


@pytest.mark.parametrize("how", ["SIGTERM", "memory"])
def test_an_item_whose_process_ended_early_is_done_once_more(how: str, tmp_path: Path) -> None:
    with open_workshop() as shop:
        assert run_each(shop, ended, (how, 1, tmp_path), [4], at_once=1, told=quiet) == [Outcome(40)]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("how", "words"), [("SIGKILL", "SIGKILL"), ("memory", "memory ran out: .*can't allocate")])
def test_an_item_that_is_killed_twice_is_no_result(how: str, words: str, tmp_path: Path) -> None:
    with open_workshop() as shop, pytest.raises(WorkerDied, match=f"ended twice .{words}") as caught:
        run_each(shop, ended, (how, 9, tmp_path), [4], at_once=1, told=quiet)
    assert caught.value.final
    assert len(list(tmp_path.iterdir())) == 2


def test_what_vendors_leave_among_temporary_files_goes_with_the_workshop() -> None:
    with open_workshop() as shop:
        (outcome,) = run_each(shop, littered, None, [1], at_once=1, told=quiet)
        assert outcome.result and Path(outcome.result).exists()
    assert not Path(outcome.result).exists()


def test_what_the_work_raises_is_raised_here_after_the_others_have_ended() -> None:
    ended: list[int] = []
    with open_workshop() as shop, pytest.raises(ValueError, match="one is refused"):
        run_each(shop, refused, None, [1, 2], at_once=1, told=lambda running, done: ended.append(done))
    assert ended[-1] == 2


def test_work_that_cannot_be_sent_is_named() -> None:
    with open_workshop() as shop, pytest.raises(Unsendable, match="generator"):
        run_each(shop, multiplied, (number for number in (1, 2)), [1], at_once=1, told=quiet)  # type: ignore[arg-type]


def test_an_interruption_leaves_no_process_behind(tmp_path: Path) -> None:
    def interrupt_when_begun(running: list[int], done: int) -> None:
        deadline = time.monotonic() + 30
        while running and not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_workshop() as shop:
        run_each(shop, noted, tmp_path, [1], at_once=1, told=interrupt_when_begun)
    assert not _alive(tmp_path)


@pytest.mark.heavy
def test_workshop_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        "import test_workshop as t; from pathlib import Path\n"
        "from deploy_prune.processes.workshop import run_each, open_workshop\n"
        f"with open_workshop() as shop: run_each(shop, t.noted, Path({str(tmp_path)!r}), [1], at_once=1, told=t.quiet)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        deadline = time.monotonic() + 30
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        parent.kill()
    assert list(tmp_path.iterdir())
    assert _wait_for_end(tmp_path)


@pytest.mark.heavy
def test_a_workshop_that_is_killed_is_no_result(tmp_path: Path) -> None:
    def kill_when_begun(running: list[int], done: int) -> None:
        deadline = time.monotonic() + 30
        while running and not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        shop.process.kill()

    with open_workshop() as shop, pytest.raises(WorkerDied, match=r"died \(SIGKILL") as caught:
        run_each(shop, noted, tmp_path, [1], at_once=1, told=kill_when_begun)
    assert not caught.value.final, "it is worth another workshop"
    assert _wait_for_end(tmp_path)


def test_a_workshop_that_never_opens_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'no room'); os._exit(9)")
    monkeypatch.syspath_prepend(tmp_path)
    with open_workshop() as shop, pytest.raises(WorkerDied, match="exit 9: no room"):
        run_each(shop, multiplied, 2, [1, 2, 3], at_once=2, told=quiet)


def test_a_module_beside_the_user_does_not_take_a_librarys_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise ImportError('not the library')")
    monkeypatch.chdir(tmp_path)
    with open_workshop() as shop:
        assert run_each(shop, multiplied, 2, [1], at_once=1, told=quiet) == [Outcome(2)]


def test_modules_are_imported_once_and_missing_ones_are_left_to_whoever_needs_them() -> None:
    with open_workshop(["decimal", "no_such_module"]) as shop:
        assert run_each(shop, multiplied, 2, [1], at_once=1, told=quiet) == [Outcome(2)]


def test_one_workshop_does_one_list_after_the_other() -> None:
    with open_workshop() as shop:
        first = run_each(shop, multiplied, 2, [1, 2], at_once=2, told=quiet)
        assert run_each(shop, multiplied, first[1].result, [5], at_once=2, told=quiet) == [Outcome(20)]


def _wait_for_end(folder: Path) -> bool:
    deadline = time.monotonic() + 10
    while _alive(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _alive(folder)


def _alive(folder: Path) -> list[int]:
    numbers = [int(path.name.partition("-")[2]) for path in folder.iterdir()]
    return [number for number in numbers if Path(f"/proc/{number}").exists()]

"""Errors become messages and exit codes in one place, and with --json stdout holds JSON alone."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from deploy_prune import __main__, __version__
from deploy_prune.cli.options import Json
from deploy_prune.cli.output import show_json
from deploy_prune.errors import BudgetError, ConfigError, ParityFailed, WorkerDied
from deploy_prune.records import REFUSED

Captured = pytest.CaptureFixture[str]


def failing(error: BaseException) -> dict[str, Callable[..., None]]:
    """The verbs of a command line whose verb `fail` raises an error."""

    def fail(as_json: Json = False) -> None:
        raise error

    return {"fail": fail, "other": fail}


def test_an_error_is_a_message_a_hint_and_its_exit_code(capsys: Captured) -> None:
    assert __main__.run(["fail"], verbs=failing(BudgetError("no plan fits", hint="raise the limit"))) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: no plan fits\nhint: raise the limit\n"
    assert captured.out == ""


def test_with_json_an_error_is_an_object(capsys: Captured) -> None:
    assert __main__.run(["fail", "--json"], verbs=failing(ParityFailed("differs", hint="look at it"))) == 4
    assert json.loads(capsys.readouterr().out) == {
        "error": {"kind": "ParityFailed", "message": "differs", "hint": "look at it", "exit_code": 4}
    }


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusing_file_system_is_exit_code_7(code: int, capsys: Captured) -> None:
    assert __main__.run(["fail", "--json"], verbs=failing(OSError(code, "refused", "some/file"))) == 7
    assert "some/file" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_package_that_is_not_installed_is_exit_code_3(capsys: Captured) -> None:
    assert __main__.run(["fail"], verbs=failing(ModuleNotFoundError("No module named 'torch'", name="torch.nn"))) == 3
    assert capsys.readouterr().err.endswith("hint: pip install 'deploy-prune[prune]'\n")


@pytest.mark.parametrize(
    ("library", "hint"),
    [("libstdc++.so.6", "apt install libstdc++6"), ("/opt/x/libodd-2.so", "apt-file search libodd-2.so")],
)
def test_a_missing_system_library_is_named_with_its_package(library: str, hint: str, capsys: Captured) -> None:
    """The loader says it so, and numpy wraps that in an error of its own."""
    said = f"{library}: cannot open shared object file: No such file or directory"
    wrapped = ImportError("Error importing numpy: you should not try to import numpy from its source directory")
    wrapped.__cause__ = ImportError(said)
    for error in (ImportError(said), OSError(said), wrapped):
        assert __main__.run(["fail"], verbs=failing(error)) == 3
        told = capsys.readouterr().err
        assert f"the system library '{library.rpartition('/')[2]}' is not installed" in told
        assert hint in told


def test_a_fault_of_our_own_is_not_dressed_up() -> None:
    with pytest.raises(OSError, match="bad"):
        __main__.run(["fail"], verbs=failing(OSError(errno.EBADF, "bad")))


def test_a_module_of_our_own_that_is_absent_is_no_missing_package() -> None:
    error = ModuleNotFoundError("No module named 'deploy_prune.x'", name="deploy_prune.x")
    with pytest.raises(ModuleNotFoundError):
        __main__.run(["fail"], verbs=failing(error))


def test_an_interruption_is_exit_code_130(capsys: Captured) -> None:
    assert __main__.run(["fail", "--json"], verbs=failing(KeyboardInterrupt())) == 130
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 130


def test_whatever_goes_wrong_after_a_signal_is_its_doing(capsys: Captured) -> None:
    """An import that is interrupted ends in an error of its own, for one."""
    for error in (ImportError("half"), WorkerDied("a worker process died")):
        assert __main__.run(["fail"], verbs=failing(error), stopped_by=[15]) == 143
        assert capsys.readouterr().err == "interrupted; the same command continues where it stopped\n"


def test_a_misspelt_verb_is_exit_code_2_with_the_closest(capsys: Captured) -> None:
    assert __main__.run(["docter"]) == 2
    assert "Did you mean 'doctor'?" in capsys.readouterr().err


def test_a_misspelt_option_is_exit_code_2_with_the_closest(capsys: Captured) -> None:
    assert __main__.run(["doctor", "--jsn"]) == 2
    assert "--json" in capsys.readouterr().err


def test_with_json_a_misspelt_option_is_an_object_too(capsys: Captured) -> None:
    assert __main__.run(["doctor", "--json", "--nope"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["exit_code"]) == ("UsageError", 2)


def test_the_exit_code_that_a_verb_returns_is_kept() -> None:
    def four() -> int:
        return 4

    def nothing() -> None:
        return None

    verbs = {"four": four, "nothing": nothing}
    assert [__main__.run([name], verbs=verbs) for name in verbs] == [4, 0]


def test_version(capsys: Captured) -> None:
    assert __main__.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_help_on_every_verb_is_exit_code_0(capsys: Captured) -> None:
    for verb in __main__.VERBS:
        assert __main__.run([verb, "--help"]) == 0
        assert f"Usage: deploy-prune {verb}" in capsys.readouterr().out


OPTIONS = json.loads((Path(__file__).parent / "options.json").read_text())


def test_verbs_and_options_are_frozen() -> None:
    """Scripts rely on them. A change on purpose goes into options.json and the changelog."""
    group = typer.main.get_command(__main__.build_application())
    context = group.make_context("deploy-prune", ["doctor"])
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    for name in __main__.GROUPS:
        verbs = commands.pop(name)
        commands |= {f"{name} {verb}": verbs.get_command(context, verb) for verb in verbs.list_commands(context)}
    found = {
        name: [" ".join([*parameter.opts, *parameter.secondary_opts]) for parameter in command.params]
        for name, command in commands.items()
    }
    assert found == OPTIONS


def test_every_verb_speaks_json() -> None:
    assert all("--json" in options for options in OPTIONS.values())


def test_ctrl_c_ends_a_real_process_with_130(tmp_path: Path) -> None:
    """The verb is replaced by one that waits: what is tested is the way of the signal."""
    started = tmp_path / "started"
    code = (
        "import signal, sys, time; from pathlib import Path; from deploy_prune import __main__\n"
        # Python leaves SIGINT alone where it was started with the signal ignored, as in a shell's background.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"def wait() -> None: Path({str(started)!r}).touch(); time.sleep(60)\n"
        "__main__.VERBS['wait'] = wait; sys.argv[1:] = ['wait']; __main__.main()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors


TAKE_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, sys.argv[1:])"
)
"""A process that was started with the signal ignored, as in a shell's background, would ignore it too."""


@pytest.mark.heavy
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
@pytest.mark.parametrize("module", ["deploy_prune.leaving", "logging", "typer", "deploy_prune.cli.output"])
def test_ctrl_c_while_we_are_imported_ends_without_a_traceback(module: str) -> None:
    """Python itself says which module it has imported just now."""
    command = [sys.executable, "-X", "importtime", "-m", "deploy_prune", "--version"]
    starter = [sys.executable, "-c", TAKE_CTRL_C, *command]
    with subprocess.Popen(starter, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        before = next(line for line in process.stderr if line.split("|")[-1].strip() == module)
        time.sleep(0.02 if module == "deploy_prune.leaving" else 0)  # its import is told before it is used
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert module in before and process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["--help"]])
def test_a_full_disk_under_stdout_is_exit_code_7(arguments: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "deploy_prune", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 7
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["--help"], ["report", "nothing"]])
def test_a_stdout_that_nobody_reads_ends_quietly(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "deploy_prune", *arguments]
    both = arguments[0] == "report"  # all that it writes is an error
    done = subprocess.run(
        command, stdout=writing, stderr=writing if both else subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert done.returncode == 141
    assert not done.stderr


def test_a_stdout_that_is_closed_ends_quietly() -> None:
    command = f"exec {shlex.quote(sys.executable)} -m deploy_prune doctor >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_stderr_that_is_closed_hinders_nobody() -> None:
    command = f"exec {shlex.quote(sys.executable)} -m deploy_prune report nothing 2>&- <&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2


def test_a_pipe_of_a_worker_of_ours_that_breaks_is_a_fault() -> None:
    """Only a stdout or stderr that nobody reads is nobody's fault."""

    def write() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises((SystemExit, BrokenPipeError)):
        __main__.run(["write"], verbs={"write": write})


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 3 bytes"),
        ConfigError("net.py:build failed: RuntimeError: DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_ran_out_is_a_kind_of_its_own(error: Exception, capsys: Captured) -> None:
    def grow() -> None:
        raise error

    assert __main__.run(["grow"], verbs={"grow": grow}) == 3
    said = capsys.readouterr().err
    assert "error: memory ran out: " in said
    assert "ulimit -v" in said


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.heavy
def test_little_memory_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(
        "from torch import nn\ndef build(num_classes=4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(192, 20_000_000), nn.Linear(20_000_000, num_classes))\n"
    )
    limit = "ulimit -v 6000000; exec"
    command = f"{limit} {shlex.quote(sys.executable)} -m deploy_prune inspect big.py:build --input-shape 3,8,8"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "memory ran out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "missing"), [(["--help"], "pydantic numpy torch"), (["prune", "--help"], "torch")]
)
def test_help_loads_no_more_than_it_shows(arguments: list[str], missing: str) -> None:
    """The flags of `prune` are fields of the configuration; the list of verbs does without, and both without torch."""
    code = f"import sys; from deploy_prune import __main__; __main__.run({arguments}); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not set(missing.split()) & set(done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.ci
def test_help_is_there_in_three_tenths_of_a_second() -> None:
    """The best of five, so that a busy machine does not fail it."""
    command = [sys.executable, "-m", "deploy_prune", "--help"]
    times_s = []
    for _ in range(5):
        before = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        times_s.append(time.perf_counter() - before)
    assert min(times_s) <= 0.3


def test_json_takes_values_as_they_are(capsys: Captured) -> None:
    show_json(path=Path("a/b"), numbers=(1, 2.5), nothing=None)
    assert json.loads(capsys.readouterr().out) == {"path": "a/b", "numbers": [1, 2.5], "nothing": None}


def test_a_path_with_the_character_nul_is_wrong_input(capsys: Captured) -> None:
    def look() -> None:
        Path("a\0b").stat()

    assert __main__.run(["look"], verbs={"look": look}) == 2
    assert "a path has the character NUL" in capsys.readouterr().err

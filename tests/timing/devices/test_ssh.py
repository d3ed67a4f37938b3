"""A real ssh client and a real server on loopback: what travels, what is refused, and what outlasts an outage."""

from __future__ import annotations

import logging
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from sshd import MISSING, Board, serve

from deploy_prune import plugins
from deploy_prune.errors import (
    ConfigError,
    ConnectionLost,
    DeployPruneError,
    InputError,
    MissingDependency,
    StorageError,
    Unavailable,
    UnknownName,
)
from deploy_prune.timing.describing import advise_on_runtimes
from deploy_prune.timing.devices import Device, DeviceDescription, Job, device_at, target_on
from deploy_prune.timing.runner import build_runner
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.timing.ssh.connection import Place, parse_place
from deploy_prune.timing.ssh.refusals import explain_refusal
from deploy_prune.timing.ssh.setup import choose_packages, list_left_out

needs_sshd = pytest.mark.skipif(bool(MISSING), reason=MISSING)
RUNNER = f".cache/deploy-prune/runner-{build_runner().sha256}.pyz"


@pytest.fixture
def own_board(tmp_path: Path) -> Iterator[Board]:
    """A host that a test may spoil."""
    if MISSING:
        pytest.skip(MISSING)
    with serve(tmp_path / "board") as served:
        yield served


def job(path: Path, device: Device, runtime: str = "onnxruntime") -> Job:
    return Job(path, runtime, 1, device.cores(1), seed=0)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("board", Place("board")),
        ("pi@board.local:2222", Place("board.local", "pi", 2222)),
        ("192.168.1.7", Place("192.168.1.7")),
        ("pi@[fe80::1%eth0]:22", Place("fe80::1%eth0", "pi", 22)),
    ],
)
def test_an_address_is_a_host_with_user_and_port(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert str(place) == f"ssh://{text}"


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=touch owned", "pi@-oProxyCommand=x", "a b", "host;ls", "host\n", "$(id)", "pi@", "host:0",
     "host:99999", "host/path", "a@b@c", "host:22:23", "`id`", "pi'@host"],
)  # fmt: skip
def test_what_ssh_or_a_shell_could_take_for_something_else_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a host"):
        device_at(f"ssh://{text}").describe()


def test_an_option_that_the_device_does_not_have_is_named() -> None:
    with pytest.raises(UnknownName, match="unknown option of ssh 'password'"):
        device_at("ssh://board?password=secret")
    with pytest.raises(ConfigError, match="is no configuration file of ssh"):
        device_at("ssh://board?config=/nowhere")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Host key verification failed.", "the host key of ssh://b is not known"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "another host key"),
        ("pi@b: Permission denied (publickey).", "lets nobody in"),
        ("ssh: Could not resolve hostname b: Name or service not known", "leads nowhere"),
        ("ssh: connect to host b port 22: Connection refused", "no ssh server answers"),
        ("ssh: connect to host b port 22: Connection timed out", "does not answer"),
        ("ssh: connect to host b port 22: No route to host", "does not answer"),
        ("Unable to negotiate with 10.0.0.1: no matching host key type found.", "no method in common"),
        ("something new in ssh 11", "ssh does not reach ssh://b: something new in ssh 11"),
    ],
)
def test_what_ssh_says_becomes_what_to_do(said: str, told: str) -> None:
    error = explain_refusal("ssh://b", said)
    assert told in error.message and error.hint and not isinstance(error, ConnectionLost)


@pytest.mark.parametrize(
    "said",
    ["Connection to b closed by remote host.", "client_loop: send disconnect: Broken pipe", "",
     "Timeout, server b not responding.", "Connection reset by 10.0.0.1 port 22"],
)  # fmt: skip
def test_a_connection_that_was_cut_is_told_from_one_that_was_never_made(said: str) -> None:
    assert isinstance(explain_refusal("ssh://b", said), ConnectionLost)


def test_a_board_is_described_as_it_describes_itself(board: Board) -> None:
    """The host is this very machine."""
    device, here = device_at(board.address), device_at("local")
    assert device.fingerprint == here.fingerprint
    assert device.describe() == here.describe()
    assert device.conditions().affinity == here.conditions().affinity
    assert target_on(device, "onnxruntime") == target_on(here, "onnxruntime")


@pytest.mark.heavy
def test_files_are_timed_and_only_the_runner_stays(own_board: Board, tiny_onnx: Path, tiny_tflite: Path) -> None:
    (own_board.own).mkdir(parents=True)
    (own_board.own / "mine").write_text("somebody else's")
    device = device_at(own_board.address)
    for path, runtime in ((tiny_onnx, "onnxruntime"), (tiny_tflite, "litert")):
        with device.start(job(path, device, runtime)) as worker:
            block = worker.block(5, timeout_s=60)
            assert len(block.samples) == 5 and block.unit == "ms" and worker.load_ms > 0
    assert own_board.await_clean()
    assert own_board.list_files() == [".cache/deploy-prune/mine", RUNNER]


@pytest.mark.heavy
def test_more_workers_than_a_connection_may_have_sessions_get_connections_of_their_own(
    board: Board, tiny_onnx: Path
) -> None:
    device = device_at(board.address)
    with ExitStack() as stack:
        workers = [stack.enter_context(device.start(job(tiny_onnx, device))) for _ in range(6)]
        assert all(len(worker.block(1, timeout_s=60).samples) == 1 for worker in workers)


def test_given_inputs_give_what_the_runtime_gives(board: Board, tiny_onnx: Path) -> None:
    device = device_at(board.address)
    session = plugins.build(RUNTIMES, "onnxruntime").open(tiny_onnx, threads=1)
    image = np.random.default_rng(0).standard_normal(session.inputs[0].shape).astype(np.float32)
    with device.start(job(tiny_onnx, device)) as worker:
        (output,) = worker.run(image, timeout_s=60)
    assert np.array_equal(output, session.run(image)[0])


@pytest.mark.parametrize("name", ["a b'\";$(touch owned).onnx", "-oProxyCommand=x.onnx", "é\n\x1b[2J.onnx"])
def test_the_name_of_a_file_is_nothing_but_a_name(board: Board, tmp_path: Path, name: str) -> None:
    path, device = tmp_path / name, device_at(board.address)
    path.write_bytes(b"no protobuf at all")
    with pytest.raises(InputError) as refused, device.start(job(path, device)):
        pass
    assert str(path) in refused.value.message
    assert not any("owned" in each for each in board.list_files())


def expect_refusal(board: Board, kind: type[DeployPruneError], told: str) -> DeployPruneError:
    with pytest.raises(kind, match=told) as refused:
        device_at(board.address).describe()
    assert refused.value.hint
    return refused.value


def test_a_host_whose_key_is_not_known_is_not_talked_to(own_board: Board) -> None:
    own_board.known_hosts.write_text("")
    error = expect_refusal(own_board, Unavailable, "the host key of ssh://board.* is not known")
    assert error.exit_code == 3
    assert own_board.list_files() == []


def test_a_host_with_another_key_than_before_is_not_talked_to(own_board: Board) -> None:
    key = (own_board.folder / "user_key.pub").read_text().split()[1]
    own_board.known_hosts.write_text(f"[127.0.0.1]:{own_board.port} ssh-ed25519 {key}\n")
    expect_refusal(own_board, Unavailable, "another host key than before")


def test_a_host_that_lets_nobody_in_asks_for_no_password(own_board: Board) -> None:
    (own_board.folder / "authorized_keys").write_text("")
    expect_refusal(own_board, Unavailable, "lets nobody in with the keys that are at hand")


def test_a_port_where_nobody_answers(own_board: Board) -> None:
    own_board.stop()
    expect_refusal(own_board, Unavailable, "no ssh server answers")


def test_a_host_without_python_says_what_to_install(own_board: Board) -> None:
    own_board.set_python("")
    expect_refusal(own_board, Unavailable, r"has no Python 3\.11 or newer \(it has none\)")


def test_a_python_that_is_too_old_is_named(own_board: Board) -> None:
    own_board.set_python("false", 'if [ "$1" = --version ]; then echo Python 3.9.2; exit; fi; exit 1')
    expect_refusal(own_board, Unavailable, r"\(it has Python 3\.9\.2\)")


def test_a_runtime_that_is_not_there_names_the_command_that_installs_it(own_board: Board, tiny_onnx: Path) -> None:
    """Its Python is the system's, with nothing but the standard library."""
    own_board.set_python(own_board.python, 'set -- -S "$@"')
    device = device_at(own_board.address)
    assert "onnxruntime" not in device.describe().runtimes
    with pytest.raises(MissingDependency, match="'onnxruntime' is not installed on ssh://board") as missing:
        target_on(device, "onnxruntime")
    assert missing.value.hint.startswith("deploy-prune doctor --device ssh://board") and "--setup" in missing.value.hint
    with pytest.raises(MissingDependency), device.start(Job(tiny_onnx, "onnxruntime", 1, (0,), 0)):
        pass
    with pytest.raises(Unavailable, match="executorch is not installed on ssh://board") as other:
        device.runtime_version("executorch")
    assert "leave its format out" in other.value.hint


def test_a_shell_that_greets_is_not_taken_for_an_answer(own_board: Board, tiny_onnx: Path) -> None:
    own_board.set_python(own_board.python, "echo 'Welcome to my board'; echo '{\"event\": 3}x'")
    (own_board.home / ".bashrc").write_text("echo hello; echo '{\"hello\": 1}'\n")
    device = device_at(own_board.address)
    with device.start(job(tiny_onnx, device)) as worker:
        assert len(worker.block(2, timeout_s=60).samples) == 2


@pytest.mark.skipif(os.getuid() == 0 and not Path("/proc/self/ns/mnt").exists(), reason="no limits to set here")
def test_a_full_disk_is_said_and_leaves_nothing_unfinished(own_board: Board) -> None:
    """No process there may write a file of more than 2 kB, which ends as a full disk does."""
    own_board.set_python(own_board.python, 'trap "" XFSZ; ulimit -f 4')
    error = expect_refusal(own_board, StorageError, "cannot keep our runner: File too large")
    assert error.exit_code == 7
    assert own_board.list_files() == []


def test_runners_of_before_are_removed_a_week_after_their_last_use_and_nothing_else(own_board: Board) -> None:
    own_board.own.mkdir(parents=True)
    long_ago = time.time() - 30 * 24 * 3600
    kept = [f"runner-{'b' * 64}.pyz", "runner-mine.pyz", "notes.txt", "sending-notes"]
    for name in (f"runner-{'a' * 64}.pyz", "sending-abcd1234", *kept):
        (own_board.own / name).write_text("")
        if name != kept[0]:
            os.utime(own_board.own / name, (long_ago, long_ago))
    device_at(own_board.address).describe()
    assert {Path(name).name for name in own_board.list_files()} == {*kept, Path(RUNNER).name}


def test_the_runner_is_sent_once(own_board: Board) -> None:
    device_at(own_board.address).describe()
    (there,) = own_board.own.iterdir()
    before = there.stat().st_ino
    device_at(own_board.address + "&patience_s=21").describe()  # a client that knows nothing yet
    assert [path.stat().st_ino for path in own_board.own.iterdir()] == [before]


@pytest.mark.heavy
def test_a_host_that_vanishes_is_waited_for_and_the_block_taken_again(
    own_board: Board, tiny_onnx: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = device_at(own_board.address)
    with caplog.at_level(logging.WARNING), device.start(job(tiny_onnx, device)) as worker:
        own_board.stop()
        back = threading.Timer(1.0, own_board.start)
        back.start()
        assert len(worker.block(5, timeout_s=60).samples) == 5
        back.join()
        assert len(worker.block(5, timeout_s=60).samples) == 5
    (line,) = [record.message for record in caplog.records]
    assert "the connection to ssh://board" in line and "waiting up to 20 s" in line


@pytest.mark.heavy
def test_a_host_that_does_not_come_back_is_given_up(own_board: Board, tiny_onnx: Path) -> None:
    device = device_at(own_board.address.replace("patience_s=20", "patience_s=1"))
    with device.start(job(tiny_onnx, device)) as worker:
        own_board.stop()
        with pytest.raises(Unavailable, match="no ssh server answers"):
            worker.block(5, timeout_s=60)
    own_board.start()


ABOUT = DeviceDescription("board", "aarch64", "Linux", 4, None, {}, libc="glibc 2.36", python="3.11.2")


def test_our_own_versions_are_installed_and_only_what_the_host_can_load() -> None:
    """The wheel of ai-edge-litert installs where it cannot be imported."""
    names = [each.partition("==")[0] for each in choose_packages("ssh://b", ABOUT)]
    assert names == ["numpy", "ai-edge-litert", "onnxruntime"]
    assert f"onnxruntime=={version('onnxruntime')}" in choose_packages("ssh://b", ABOUT)
    bullseye = replace(ABOUT, libc="glibc 2.31")
    assert [each.partition("==")[0] for each in choose_packages("ssh://b", bullseye)] == ["numpy", "onnxruntime"]
    assert list_left_out(bullseye) == ("ai-edge-litert: its wheels need glibc 2.34, there is glibc 2.31",)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        (replace(ABOUT, libc="glibc 2.27"), "has glibc 2.27, and the runtimes need glibc 2.28 or newer"),
        (replace(ABOUT, libc=""), "has no glibc"),
        (replace(ABOUT, architecture="armv7l"), "is a armv7l, for which there are no packages"),
    ],
)
def test_a_host_that_no_runtime_runs_on_is_refused_before_anything_is_installed(
    about: DeviceDescription, told: str
) -> None:
    with pytest.raises(Unavailable, match=told) as refused:
        choose_packages("ssh://b", about)
    assert refused.value.hint


def test_a_processor_on_which_a_runtime_dies_is_warned_of() -> None:
    old = replace(ABOUT, runtimes={"litert": "2.3.0"}, features=("asimddp",))
    assert any("atomics" in each and "ExecuTorch" in each for each in advise_on_runtimes(old))
    assert advise_on_runtimes(replace(old, features=("atomics",))) == ()


def wheel(folder: Path, name: str, number: str) -> None:
    """A package of that name and version with an empty module in it."""
    folder.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-{number}"
    about = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n",
             "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for file, text in about.items():
            archive.writestr(f"{stem}.dist-info/{file}", text)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
        archive.writestr(f"{name.replace('-', '_')}.py", "")


@pytest.mark.heavy
def test_setup_makes_an_environment_of_its_own_and_what_it_lacks_is_named_before(own_board: Board) -> None:
    """The host's package index is a folder of empty packages."""
    index = own_board.folder / "index"
    own_board.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    own_board.write_configs()
    own_board.stop()
    own_board.start()
    own_board.set_python(own_board.python, 'case "$*" in *venv*) ;; *) set -- -S "$@";; esac')
    device = device_at(own_board.address)
    assert device.describe().runtimes == {}
    assert any("--setup" in each for each in device.advise())
    with pytest.raises(Unavailable, match=r"cannot install .*: No matching distribution") as refused:
        device.set_up()
    assert "package index" in refused.value.hint
    for name in ("numpy", "ai-edge-litert", "onnxruntime"):
        wheel(index, name, version(name))
    assert device.set_up() == tuple(f"{name}=={version(name)}" for name in ("numpy", "ai-edge-litert", "onnxruntime"))
    assert device.describe().runtimes == {"litert": version("ai-edge-litert"), "onnxruntime": version("onnxruntime")}
    assert device.advise() == ()
    assert {path.name for path in own_board.own.iterdir()} == {"venv", Path(RUNNER).name}


def test_two_clients_at_once_do_not_disturb_each_other(board: Board, tiny_onnx: Path) -> None:
    one, other = device_at(board.address), device_at(board.address + "&patience_s=19")
    with one.start(job(tiny_onnx, one)) as first, other.start(job(tiny_onnx, other)) as second:
        assert len(first.block(2, timeout_s=60).samples) == len(second.block(2, timeout_s=60).samples) == 2

"""Records are written whole or not at all, and what does not fit is refused when it is read."""

from __future__ import annotations

import errno
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.errors import RecordError, StorageError
from deploy_prune.records import (
    count_bytes,
    explain_storage_errors,
    read_record,
    remove_unfinished,
    sha256,
    write_atomic,
    write_record,
)
from deploy_prune.values import Plan

PLAN = Plan(network="toy", keep={"conv1": (0, 2, 3)}, budget="0.5x", asked=10.0, reached=9.5, dense=20.0, cost="macs")


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 4 kB: the same refusal in the middle of a write as on a full disk.

    Not a fixture: pytest reports a test before it ends the fixtures, and its own output may be a longer file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    write_record(tmp_path / "plan.json", PLAN)
    assert read_record(tmp_path / "plan.json", Plan) == PLAN


names = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    network=names,
    keep=st.dictionaries(names, st.lists(st.integers(0, 1 << 40)).map(tuple), max_size=5),
    reached=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_plan_survives_json(
    tmp_path_factory: pytest.TempPathFactory, network: str, keep: dict[str, tuple[int, ...]], reached: float | None
) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    plan = Plan(network=network, keep=keep, reached=reached)
    write_record(path, plan)
    assert read_record(path, Plan) == plan


def test_the_file_says_its_schema_and_kind(tmp_path: Path) -> None:
    write_record(tmp_path / "plan.json", PLAN)
    document = json.loads((tmp_path / "plan.json").read_text())
    assert (document["schema"], document["kind"]) == (2, "Plan")


def test_a_write_that_fails_halfway_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")

    def fail_halfway(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, fail_halfway)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_refusal_of_the_file_system_is_a_storage_error_naming_the_path(code: int) -> None:
    with pytest.raises(StorageError, match=r"cannot write runs/a\.json"), explain_storage_errors(Path("runs/a.json")):
        raise OSError(code, "refused")


def test_other_faults_of_the_system_are_not_renamed() -> None:
    with pytest.raises(OSError, match="interrupted"), explain_storage_errors(Path("a")):
        raise OSError(errno.EINTR, "interrupted")


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_text("old")
    with small_files(), pytest.raises(StorageError, match="larger than allowed"):
        write_atomic(path, lambda temporary: temporary.write_bytes(bytes(1 << 16)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_without_space_is_a_storage_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StorageError, match="the disk is full"), explain_storage_errors(full):
        full.write_text("x")


def test_a_file_where_a_folder_must_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError):
        write_record(tmp_path / "taken" / "plan.json", PLAN)


def test_a_folder_that_cannot_be_made_is_a_storage_error() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    with pytest.raises(StorageError, match="/proc/nowhere"):
        write_record(Path("/proc/nowhere/plan.json"), PLAN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "kind": "Plan", "val', "damaged"),
        ("", "damaged"),
        ("[]", "schema None"),
        ('{"schema": 99, "kind": "Plan", "value": {}}', "schema 99, this version reads 1 to 2"),
        ('{"schema": 1, "kind": "Plan"}', "does not hold a Plan"),
        ('{"schema": 2, "kind": "Front", "value": {"network": "", "keep": {}}}', "holds a Front, not a Plan"),
        ('{"schema": 1, "kind": "Plan", "value": {"network": 3, "keep": {}}}', "does not hold a Plan"),
    ],
)
def test_a_damaged_or_foreign_record_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=message):
        read_record(path, Plan)


def test_a_binary_file_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="damaged"):
        read_record(tmp_path / "plan.json", Plan)


def test_a_missing_record_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        read_record(tmp_path / "plan.json", Plan)


def test_the_digest_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_is_moved_into_place_whole_and_replaces_an_old_one(tmp_path: Path) -> None:
    def folder(*names: str) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            (path / "inner").mkdir(parents=True)
            for name in names:
                (path / "inner" / name).write_text(name)

        return write

    target = tmp_path / "net.mlpackage"
    write_atomic(target, folder("a", "b"))
    write_atomic(target, folder("c"))
    assert [path.name for path in (target / "inner").iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_fails_halfway_leaves_the_old_one(tmp_path: Path) -> None:
    def fail_halfway(temporary: Path) -> None:
        temporary.mkdir()
        (temporary / "part").write_text("ne")
        raise KeyboardInterrupt

    target = tmp_path / "net.mlpackage"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_atomic(target, fail_halfway)
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_killed_processes_left_is_swept_away(tmp_path: Path) -> None:
    half = tmp_path / "export-1" / ".writing-net-x1" / "net.mlpackage"
    half.mkdir(parents=True)
    (half / "part").write_text("ne")
    (tmp_path / "plan.json").write_text("whole")
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["export-1", "plan.json"]


def test_what_somebody_is_writing_now_is_not_swept_away(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        remove_unfinished(tmp_path)
        temporary.write_text("whole")

    write_atomic(tmp_path / "plan.json", write)
    assert (tmp_path / "plan.json").read_text() == "whole"


def test_size_and_digest_of_a_folder_are_over_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    (folder / "inner").mkdir(parents=True)
    (folder / "a").write_bytes(b"abc")
    (folder / "inner" / "b").write_bytes(b"de")
    before = sha256(folder)
    assert count_bytes(folder) == 5
    (folder / "inner" / "b").rename(folder / "inner" / "c")
    renamed = sha256(folder)
    (folder / "inner" / "c").write_bytes(b"df")
    assert len({before, renamed, sha256(folder)}) == 3


@pytest.mark.parametrize("kind", ['["Plan"]', "{}", "null", "7"])
def test_a_kind_that_is_no_text_is_another_kind(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plan.json").write_text(f'{{"schema": 2, "kind": {kind}, "value": {{}}}}')
    with pytest.raises(RecordError, match="not a Plan"):
        read_record(tmp_path / "plan.json", Plan)

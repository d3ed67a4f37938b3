"""What reaches the store stays there, whoever else writes and whenever it is killed; nothing else is touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from latencies import comparison, made_up, renamed, sample

from deploy_prune.budget.latency.store import Store, open_store
from deploy_prune.budget.latency.table import Profile
from deploy_prune.budget.latency.table_file import write_table
from deploy_prune.errors import NotProfiled, RecordError, StorageError
from deploy_prune.timing import conditions

WRITER = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from deploy_prune.budget.latency.table import Profile, Sample
from deploy_prune.budget.latency.store import open_store
from deploy_prune.records import read_record

table, column = read_record(Path(sys.argv[1]), Profile), int(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    path, count = line.split()
    with open_store(Path(path)) as store:
        store.begin(table)
        for number in range(int(count)):
            store.add(table, Sample((column, number, 1), 0.5, (0.4, 0.6)))
            print(number, flush=True)
    print("done", flush=True)
"""
"""A process that writes samples one by one to the stores that it is told of, and says when each is kept."""


@pytest.fixture
def whole(store: Store, table: Profile) -> Profile:
    """The made-up table, in the store."""
    store.begin(table)
    store.add(table, *table.samples)
    return table


@pytest.fixture
def writers(table: Profile, tmp_path: Path):
    """Starts writers; they are dead when the test ends."""
    write_table(table, tmp_path / "table.json")
    started: list[subprocess.Popen[str]] = []

    def start(column: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(tmp_path / "table.json"), str(column)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def told(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip()


def test_a_profile_comes_back_as_it_went_in(store, whole):
    found = store.find(whole.network, whole.target)
    assert found == whole
    assert store.profiles() == (replace(whole, samples=()),)


def test_raw_times_are_kept_and_read_when_asked_for(store, table):
    store.begin(table)
    store.add(table, sample((1, 2, 3), 0.5, comparison=comparison(0.5)))
    assert store.whole(table).samples[0].comparison == comparison(0.5)
    assert store.find(table.network, table.target).samples[0].comparison is None


def test_what_is_stored_is_there_when_it_is_opened_again(table, tmp_path):
    path = tmp_path / "folder" / "another" / "latency.sqlite"
    with open_store(path) as store:
        store.begin(table)
        store.add(table, *table.samples)
    with open_store(path, make=False) as store:
        assert store.find(table.network, table.target) == table


def test_the_version_that_is_asked_for_is_found_else_the_last_one(store, table):
    for version in ("2.1", "2.3", "2.2"):
        store.begin(renamed(table, runtime_version=version))
    versions = [store.find(table.network, replace(table.target, runtime_version=asked)) for asked in ("2.3", "9", "")]
    assert [each.target.runtime_version for each in versions] == ["2.3", "2.2", "2.2"]


@pytest.mark.parametrize(
    "change", [{"device": "tablet"}, {"runtime": "onnxruntime"}, {"threads": 2}, {"precision": "int8"}]
)
def test_another_target_is_not_mistaken_for_this_one(store, whole, change):
    assert store.find(whole.network, replace(whole.target, **change)) is None
    assert store.find("another", whole.target) is None


def test_a_sample_of_the_same_widths_takes_the_place_of_the_one_before(store, table):
    store.begin(table)
    store.add(table, sample((1, 2, 3), 0.5), sample((1, 2, 4), 0.6))
    store.add(table, sample((1, 2, 3), 0.7))
    found = store.find(table.network, table.target).samples
    assert {each.widths: each.ratio for each in found} == {(1, 2, 3): 0.7, (1, 2, 4): 0.6}


def test_an_operators_own_sample_and_one_of_another_input_stand_beside_the_networks(store, table):
    store.begin(table)
    taken = (
        sample((1, 2, 3), 0.5),
        sample((1, 2, 3), 0.9, operator=2),
        sample((1, 2, 3), 0.3, input_shape=(3, 4, 4)),
    )
    store.add(table, *taken)
    assert store.find(table.network, table.target).samples == taken


def test_a_profile_that_is_begun_twice_keeps_its_first_reference(store, table):
    store.begin(table)
    store.begin(replace(table, reference=99.0))
    assert store.find(table.network, table.target).reference == table.reference


def test_a_profile_is_complete_when_that_is_said(store, table):
    begun = replace(table, complete=False)
    store.begin(begun)
    assert not store.find(table.network, table.target).complete
    store.complete(begun)
    assert store.find(table.network, table.target).complete


def test_what_is_forgotten_leaves_no_samples_behind(store, whole):
    """Not even for the profile that takes its number."""
    other = renamed(whole, device="tablet")
    store.begin(other)
    store.add(other, *whole.samples[:3])
    store.forget(other)
    assert store.find(other.network, other.target) is None
    store.begin(other)
    assert store.find(other.network, other.target).samples == ()
    assert store.find(whole.network, whole.target) == whole


def test_what_is_written_together_is_kept_as_a_whole_or_not_at_all(store, table):
    store.begin(table)

    def taken_anew(then: Exception | None) -> None:
        with store.together():
            store.forget(table)
            store.begin(replace(table, reference=2 * table.reference))
            if then:
                raise then

    with pytest.raises(ZeroDivisionError):
        taken_anew(ZeroDivisionError())
    assert store.find(table.network, table.target).reference == table.reference
    taken_anew(None)
    assert store.find(table.network, table.target).reference == 2 * table.reference


def test_samples_of_a_profile_that_is_not_there_are_refused(store, table):
    with pytest.raises(RecordError, match=f"{store.path} has no latency table of tests:made_up"):
        store.add(table, sample((1, 2, 3), 0.5))


def test_a_missing_store_is_not_made_where_it_is_only_read(tmp_path):
    with pytest.raises(NotProfiled, match="no latency store at") as refused, open_store(tmp_path / "no", make=False):
        pass
    assert "deploy-prune profile" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_write_at_once_lose_nothing(writers, table, tmp_path):
    """Ten new stores, which both want to make at the same moment."""
    both = [writers(1), writers(2)]
    assert [told(each) for each in both] == ["ready", "ready"]
    paths = [tmp_path / f"{number}.sqlite" for number in range(10)]
    for each in both:
        each.stdin.write("".join(f"{path} 8\n" for path in paths))
        each.stdin.close()
    assert [each.wait(timeout=60) for each in both] == [0, 0]
    for path in paths:
        with open_store(path) as store:
            found = store.find(table.network, table.target).samples
            assert {each.widths[:2] for each in found} == {(column, n) for column in (1, 2) for n in range(8)}


def test_a_process_killed_while_it_writes_leaves_all_that_it_had_kept(writers, table, tmp_path):
    process, path = writers(1), tmp_path / "latency.sqlite"
    process.stdin.write(f"{path} 100000\n")
    assert [told(process) for _ in range(41)][-1] == "39"
    os.kill(process.pid, signal.SIGKILL)
    kept = [*range(40), *(int(line) for line in process.stdout.read().split("\n") if line)]
    with open_store(path) as store:
        found = {each.widths[1] for each in store.find(table.network, table.target).samples}
        assert found >= set(kept)
        store.add(table, sample((2, 0, 1), 0.5))
    with open_store(path) as store:
        assert len(store.find(table.network, table.target).samples) == len(found) + 1


def written(path: Path, *statements: str) -> bytes:
    """A database of somebody else, and its bytes."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path.read_bytes()


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_database_of_something_else_is_refused_and_not_changed(tmp_path, version):
    """Another program may count its versions as well."""
    path = tmp_path / "bookmarks.sqlite"
    content = written(path, "CREATE TABLE bookmarks (url TEXT)", f"PRAGMA user_version = {version}")
    with pytest.raises(RecordError, match=f"{path} is a database of something else"), open_store(path):
        pass
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


SCHEMA_1 = (
    """CREATE TABLE profiles (
    id INTEGER PRIMARY KEY, network TEXT NOT NULL, address TEXT NOT NULL, device TEXT NOT NULL, runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL, threads INTEGER NOT NULL, precision TEXT NOT NULL, reference_ms REAL NOT NULL,
    drawing TEXT NOT NULL, complete INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, device, runtime, runtime_version, threads, precision))""",
    """CREATE TABLE samples (
    id INTEGER PRIMARY KEY, profile INTEGER NOT NULL REFERENCES profiles ON DELETE CASCADE, operator INTEGER NOT NULL,
    widths TEXT NOT NULL, input_shape TEXT NOT NULL, ratio REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
    raw TEXT, UNIQUE (profile, operator, widths, input_shape))""",
    "INSERT INTO profiles VALUES (1, 'net', 'tests:net', 'phone', 'litert', '2.1', 1, 'fp32', 8.0, "
    """'{"format": "tflite", "groups": [], "lines": [], "operators": []}', 1)""",
    "INSERT INTO samples VALUES (1, 1, -1, '[3]', '[]', 0.5, 0.4, 0.6, NULL)",
    """INSERT INTO samples VALUES (2, 1, -1, '[4]', '[]', 0.6, 0.5, 0.7, '{"ratio": 0.6, "interval": [0.5, 0.7],
    "reference_ms": 8.0, "brackets": [{"before_ms": [8.0], "candidate_ms": [4.8], "after_ms": [8.0]}], "repeated": 0}')
    """,
    "PRAGMA user_version = 1",
)
"""A store as deploy-prune wrote it before times had a unit."""


def test_a_store_of_schema_1_is_brought_up_to_date_where_it_lies(tmp_path):
    written(path := tmp_path / "latency.sqlite", *SCHEMA_1)
    for _ in range(2):
        with open_store(path) as store:
            (profile,) = store.profiles()
            assert (profile.reference, profile.unit, profile.target.device) == (8.0, "ms", "phone")
            first, second = store.whole(profile).samples
            assert first.comparison is None
            assert second.comparison.brackets[0].candidate == (4.8,)
            assert (second.comparison.reference, second.comparison.unit) == (8.0, "ms")
            store.begin(replace(profile, network="another"))
            store.forget(replace(profile, network="another"))


def test_a_table_of_this_machine_goes_by_its_name_of_today(tmp_path):
    old = conditions.name_before_systems().replace("'", "''")
    written(path := tmp_path / "latency.sqlite", *SCHEMA_1, f"UPDATE profiles SET device = '{old}'")
    with open_store(path) as store:
        assert [each.target.device for each in store.profiles()] == [conditions.fingerprint()]


def test_a_store_of_schema_1_that_cannot_be_read_stays_as_it_is(tmp_path):
    content = written(path := tmp_path / "latency.sqlite", *SCHEMA_1, "UPDATE samples SET raw = '{' WHERE id = 2")
    with pytest.raises(RecordError, match="is damaged"), open_store(path):
        pass
    assert path.read_bytes() == content


def test_a_store_of_another_schema_is_refused_and_not_changed(table, tmp_path):
    path = tmp_path / "latency.sqlite"
    with open_store(path) as store:
        store.begin(table)
    content = written(path, "PRAGMA user_version = 7")
    with pytest.raises(RecordError, match=f"{path} has schema 7, this version reads 1") as refused, open_store(path):
        pass
    assert refused.value.exit_code == 2
    assert path.read_bytes() == content


@pytest.mark.parametrize("share", [0.05, 0.4, 0.7])
def test_a_truncated_store_is_refused_and_named(table, tmp_path, share):
    path = tmp_path / "latency.sqlite"
    with open_store(path) as store:
        store.begin(table)
        store.add(table, *table.samples)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RecordError, match=f"the latency store {path} is damaged"), open_store(path) as store:
        store.find(table.network, table.target)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, b"{}" * 600, bytes(4096)])
def test_a_foreign_file_is_refused_named_and_not_changed(table, tmp_path, content):
    path = tmp_path / "latency.sqlite"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=str(path)), open_store(path) as store:
        store.profiles()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE profiles SET reference = 'fast'",
        "UPDATE profiles SET complete = 'maybe'",
        "UPDATE profiles SET drawing = '{'",
        "UPDATE profiles SET drawing = 'null'",
        "UPDATE samples SET widths = '[1, 2' WHERE id = 3",
        "UPDATE samples SET widths = '7' WHERE id = 3",
        "UPDATE samples SET ratio = 'fast'",
        "UPDATE samples SET widths = x'ff00' WHERE id = 3",
    ],
)
def test_damaged_rows_are_refused_and_the_store_is_named(store, whole, damage):
    written(store.path, damage)
    with pytest.raises(RecordError, match=f"{store.path} is damaged"):
        store.find(whole.network, whole.target)


def test_a_path_below_a_file_is_the_file_systems_refusal(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "latency.sqlite"
    with pytest.raises(StorageError, match=str(path)) as refused, open_store(path):
        pass
    assert refused.value.exit_code == 7


def test_a_folder_in_the_stores_place_is_the_file_systems_refusal(tmp_path):
    with pytest.raises(StorageError, match=f"cannot use the latency store {tmp_path}"), open_store(tmp_path):
        pass


def test_a_disk_that_is_full_is_the_file_systems_refusal(store, table):
    """SQLite itself says so, when no page may be added."""
    store._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="full"):
        store.begin(replace(table, address="x" * 100_000))
    assert store.profiles() == ()


def test_the_figures_of_a_profile_are_those_of_the_network(store, graph):
    """Two profiles of one network, of which only the target differs, do not mix."""
    phone, tablet = made_up(graph), renamed(made_up(graph, samples=30), device="tablet")
    for each in (phone, tablet):
        store.begin(each)
        store.add(each, *each.samples)
    assert [len(store.find(each.network, each.target).samples) for each in (phone, tablet)] == [64, 30]

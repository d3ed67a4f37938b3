"""`latency`: tables are listed, shared as files, and drawn layer by layer."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from latencies import Phone

from deploy_prune import __main__

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def imported(phone: Phone, capsys: Captured) -> Phone:
    assert __main__.run(["latency", "import", str(phone.file), "--store", str(phone.store)]) == 0
    said = capsys.readouterr().out
    assert said == f"{phone.model} on phone, litert 2.3.0: 64 samples; plan with --device 'phone'\n"
    return phone


def test_what_was_imported_is_listed(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["latency", "list", "--store", str(imported.store)]) == 0
    said = capsys.readouterr().out
    for text in (imported.model, "phone", "litert 2.3.0", "8.000", "64", "yes"):
        assert text in said


def test_the_list_as_json(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["latency", "list", "--store", str(imported.store), "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert (table["device"], table["samples"], table["complete"]) == ("phone", 64, "yes")


def test_where_there_is_no_store_nothing_is_listed_and_none_is_made(tmp_path: Path, capsys: Captured) -> None:
    assert __main__.run(["latency", "list", "--store", str(tmp_path / "deep" / "new.sqlite"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"tables": []}
    assert not list(tmp_path.iterdir())


def test_listing_leaves_an_empty_file_as_it_is(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").touch()
    assert __main__.run(["latency", "list", "--store", str(tmp_path / "empty")]) == 2
    assert "is a database of something else" in capsys.readouterr().err
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER pwn AFTER DELETE ON profiles BEGIN DELETE FROM samples; END",
        "CREATE VIEW pwn AS SELECT * FROM profiles",
        "CREATE INDEX pwn ON samples (ratio)",
    ],
)
def test_a_store_that_acts_by_itself_is_refused(imported: Phone, capsys: Captured, statement: str) -> None:
    with closing(sqlite3.connect(imported.store)) as connection:
        connection.execute(statement)
        connection.commit()
    assert __main__.run(["latency", "list", "--store", str(imported.store)]) == 2
    assert re.search(r"has what none of ours has: (trigger|view|index) pwn", capsys.readouterr().err)


def test_names_of_a_table_do_not_steer_the_terminal(phone: Phone, capsys: Captured) -> None:
    text = phone.file.read_text().replace('"phone"', '"phone\\u001b[31m"')
    (phone.store.parent / "esc.json").write_text(text)
    assert __main__.run(["latency", "import", str(phone.store.parent / "esc.json"), "--store", str(phone.store)]) == 0
    assert __main__.run(["latency", "list", "--store", str(phone.store)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert said.count(r"phone\x1b[31m") == 3


def test_a_table_goes_out_as_it_came_in(imported: Phone, tmp_path: Path, capsys: Captured) -> None:
    assert __main__.run(["latency", "export", imported.model, str(tmp_path / "again.json"), *imported.place]) == 0
    assert f"64 samples of {imported.model} in" in capsys.readouterr().out
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(imported.file.read_text())


def test_the_device_may_be_called_otherwise(phone: Phone, capsys: Captured) -> None:
    assert (
        __main__.run(
            ["latency", "import", str(phone.file), "--device", "pixel6", "--store", str(phone.store), "--json"]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["target"]["device"], found["samples"], found["network"]) == ("pixel6", 64, phone.model)
    assert __main__.run(["plan", phone.model, *phone.place]) == 2


@pytest.mark.parametrize("content", ["", "{", '{"schema": 2}', "[]"])
def test_a_file_that_is_no_table_is_exit_code_2_and_named(
    tmp_path: Path, phone: Phone, capsys: Captured, content: str
) -> None:
    (tmp_path / "bad.json").write_text(content)
    assert __main__.run(["latency", "import", str(tmp_path / "bad.json"), "--store", str(phone.store)]) == 2
    assert str(tmp_path / "bad.json") in capsys.readouterr().err


def test_the_layers_that_can_be_drawn_are_listed(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["latency", "show", imported.model, *imported.place, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [(each["name"], each["channels"]) for each in layers] == [("stem.0", 16), ("up.0", 24), ("stem.0#2", 16)]
    assert __main__.run(["latency", "show", imported.model, *imported.place]) == 0
    assert "Layers whose channels can be cut" in capsys.readouterr().out


def test_a_layers_staircase_is_drawn(imported: Phone, capsys: Captured) -> None:
    """A column per width, in stairs of 8 as the table was made up: no more than one step up within a stair."""
    assert __main__.run(["latency", "show", imported.model, "up.0", *imported.place]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "up.0 (pointwise)" and lines[-1].endswith("channels of up.0")
    assert all(len(line.partition("|")[2]) == 24 for line in lines[1:-1])


def test_a_staircase_as_json(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["latency", "show", imported.model, "up.0", *imported.place, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["staircase"]["steps"]
    assert [each["channels"] for each in steps] == list(range(1, 25))
    assert all(each["measured_ms"] is None for each in steps)
    predicted = [each["predicted_ms"] for each in steps]
    assert predicted[8] - predicted[7] > 2 * (predicted[7] - predicted[6])  # 8 channels fill a tile, 9 begin another
    assert predicted[-1] == pytest.approx(max(predicted))


def test_pictures_are_written(imported: Phone, tmp_path: Path) -> None:
    flags = ["--png", str(tmp_path / "a.png"), "--html", str(tmp_path / "a.html")]
    assert __main__.run(["latency", "show", imported.model, "up.0", *imported.place, *flags]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "plotly" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(("flag", "name"), [("--png", "a.pdf"), ("--html", "a"), ("--png", "a.html")])
def test_another_ending_is_refused(imported: Phone, tmp_path: Path, capsys: Captured, flag: str, name: str) -> None:
    command = ["latency", "show", imported.model, "up.0", *imported.place, flag, str(tmp_path / name)]
    assert __main__.run(command) == 2
    assert str(tmp_path / name) in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_an_unknown_layer_comes_with_the_closest(imported: Phone, capsys: Captured) -> None:
    assert __main__.run(["latency", "show", imported.model, "up.1", *imported.place]) == 2
    said = capsys.readouterr().err
    assert "unknown layer 'up.1'" in said and "did you mean 'up.0'" in said


@pytest.mark.parametrize("verb", [["show"], ["show", "up.0"], ["export", "out.json"]])
def test_a_device_without_an_address_and_a_table_says_how(
    phone: Phone, capsys: Captured, verb: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(phone.store.parent)
    assert __main__.run(["latency", verb[0], phone.model, *verb[1:], *phone.place]) == 2
    assert "'phone' is no device that files can be timed on" in capsys.readouterr().err
    assert not phone.store.exists()
    assert __main__.run(["latency", "list", "--store", str(phone.store)]) == 0
    assert __main__.run(["latency", verb[0], phone.model, *verb[1:], *phone.place]) == 2
    said = capsys.readouterr().err
    assert "known: adb, local" in said and "deploy-prune latency import" in said
    assert not Path("out.json").exists()


def test_a_damaged_store_is_exit_code_2_and_named(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    assert __main__.run(["latency", "list", "--store", str(tmp_path / "bad.sqlite")]) == 2
    assert str(tmp_path / "bad.sqlite") in capsys.readouterr().err


def test_a_store_that_cannot_be_written_is_exit_code_7(phone: Phone, capsys: Captured) -> None:
    store = phone.file / "latency.sqlite"
    assert __main__.run(["latency", "import", str(phone.file), "--store", str(store)]) == 7
    assert str(store) in capsys.readouterr().err

"""A user's file imports what lies beside it, as in a script, and nobody else sees any of that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy_prune.errors import ConfigError
from deploy_prune.processes.workshop.parcels import pack
from deploy_prune.user_files import load_user_module


def write(folder: Path, **files: str) -> Path:
    """A folder with these Python files."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(f"{text}\n")
    return folder


def ask(path: Path) -> Any:
    """What the function `value` of a user's file returns."""
    return vars(load_user_module(path))["value"]()


def test_every_way_to_import_a_neighbour_finds_it(tmp_path: Path) -> None:
    net = """
import layers
import blocks.conv
import blocks.conv as renamed
from blocks import conv
from blocks.conv import WIDTH

def value():
    from later import LATE
    return layers.DEPTH, blocks.conv.WIDTH, renamed.WIDTH, conv.WIDTH, WIDTH, LATE
"""
    write(tmp_path, net=net, layers="DEPTH = 3", later="from layers import DEPTH\nLATE = DEPTH + 1")
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "conv.py").write_text("import layers\nWIDTH = 10 * layers.DEPTH")
    assert ask(tmp_path / "net.py") == (3, 30, 30, 30, 30, 4)
    (tmp_path / "blocks" / "__init__.py").touch()
    again = tmp_path / "again.py"
    again.write_text(net)
    assert ask(again) == (3, 30, 30, 30, 30, 4)


def test_nothing_is_left_behind_and_two_folders_do_not_mix(tmp_path: Path) -> None:
    before = list(sys.path)
    for name in ("first", "second"):
        text = "import shared_by_name\n\ndef value():\n    return shared_by_name.WHO"
        write(tmp_path / name, net=text, shared_by_name=f"WHO = '{name}'")
    assert [ask(tmp_path / name / "net.py") for name in ("first", "second", "first")] == ["first", "second", "first"]
    assert sys.path == before
    assert "shared_by_name" not in sys.modules
    assert not list(tmp_path.rglob("__pycache__"))


def test_files_of_one_folder_share_a_neighbour(tmp_path: Path) -> None:
    write(tmp_path, state="seen = []", one="import state\n\ndef value():\n    state.seen.append(1)")
    write(tmp_path, two="import state\n\ndef value():\n    return len(state.seen)")
    ask(tmp_path / "one.py")
    assert ask(tmp_path / "two.py") == 1


def test_a_neighbour_takes_no_place_for_anybody_else(tmp_path: Path) -> None:
    """`fractions.py` is the user's for the user's file alone; this package is never another one."""
    net = "import fractions, statistics\nfrom deploy_prune import errors\n\n"
    net += "def value():\n    return fractions.MINE, statistics.Fraction, errors"
    write(tmp_path, net=net, fractions="MINE = 1", deploy_prune="errors = None")
    mine, theirs, errors = ask(tmp_path / "net.py")
    import fractions

    assert (mine, theirs, errors.ConfigError) == (1, fractions.Fraction, ConfigError)


def test_a_file_that_is_called_as_a_package_imports_the_package(tmp_path: Path) -> None:
    write(tmp_path, fractions="import fractions\n\ndef value():\n    return fractions.Fraction(1, 2)")
    assert ask(tmp_path / "fractions.py") == 0.5


def test_what_a_neighbour_lacks_is_named(tmp_path: Path) -> None:
    write(tmp_path, net="import layers", layers="import no_such_package_anywhere")
    with pytest.raises(ConfigError, match="No module named 'no_such_package_anywhere'"):
        load_user_module(tmp_path / "net.py")


def test_what_a_neighbour_defines_reaches_another_process(tmp_path: Path) -> None:
    write(tmp_path, net="from layers import Layer\n\ndef value():\n    return Layer()")
    write(tmp_path, layers="import factors\n\nclass Layer:\n    def __call__(self):\n        return 7 * factors.FACTOR")
    write(tmp_path, factors="FACTOR = 6")
    (tmp_path / "parcel").write_bytes(pack(ask(tmp_path / "net.py")))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'parcel')!r}, 'rb'))())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout.strip() == "42"

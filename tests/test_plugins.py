"""Plugins are found by their file names, built with their own options, and misspelt names are answered."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, MissingDependency, UnknownName

KINDS = tuple(plugins.PACKAGES)


@dataclasses.dataclass(frozen=True)
class Toy:
    """A plugin with an option."""

    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size is below 0")


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_files_of_the_package_in_order(kind: str) -> None:
    folder = Path(importlib.import_module(plugins.PACKAGES[kind]).__file__ or "").parent
    files = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
    assert list(plugins.list_names(kind)) == sorted(files)


def test_a_misspelt_plugin_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownName) as caught:
        plugins.build("runtimes", "onnxruntim")
    assert caught.value.message == "unknown runtime 'onnxruntim'"
    assert "did you mean 'onnxruntime'?" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_is_a_frozen_dataclass_that_builds_with_its_defaults(kind: str) -> None:
    for name in plugins.list_names(kind):
        cls = plugins.load(kind, name)
        assert dataclasses.is_dataclass(cls)
        assert cls.__dataclass_params__.frozen
        assert isinstance(plugins.build(kind, name), cls)


def test_a_misspelt_option_is_answered_with_the_closest(toy: None) -> None:
    with pytest.raises(UnknownName) as caught:
        plugins.build("runtimes", "toy", {"sise": 3})
    assert caught.value.message == "unknown option of toy 'sise'"
    assert "did you mean 'size'?" in caught.value.hint


def test_an_option_sets_the_field_of_its_name(toy: None) -> None:
    assert plugins.build("runtimes", "toy", {"size": 3}).size == 3


def test_a_value_the_plugin_refuses_is_a_config_error(toy: None) -> None:
    with pytest.raises(ConfigError, match="runtime 'toy': size is below 0"):
        plugins.build("runtimes", "toy", {"size": -1})


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "load", lambda kind, name: Toy)


def test_a_plugin_whose_package_is_absent_names_package_and_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import deploy_prune.timing.runtimes as package

    (tmp_path / "far_away.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    with pytest.raises(MissingDependency, match="'a_package_that_nobody_has' is not installed"):
        plugins.load("runtimes", "far_away")


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("def build():\n    return 7\n")
    return path


def test_a_file_address_gives_the_object_it_names(factory: Path) -> None:
    assert plugins.fetch_user_object(f"{factory}:build")() == 7


@pytest.mark.parametrize("address", ["", "file.py", "file.py:", ":build", "file.py:no identifier"])
def test_an_address_without_a_file_or_a_name_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a function"):
        plugins.fetch_user_object(address)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.py does not exist"):
        plugins.fetch_user_object(f"{tmp_path}/mine.py:build")


def test_a_misspelt_name_in_a_file_is_answered_with_the_closest(factory: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        plugins.fetch_user_object(f"{factory}:biuld")
    assert "did you mean 'build'?" in caught.value.hint


def test_a_file_that_fails_says_how(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"broken\.py could not be imported: ZeroDivisionError"):
        plugins.fetch_user_object(f"{tmp_path}/broken.py:build")


COUNTING = """
runs = []
with open(__file__ + ".log", "a") as log:
    log.write("executed ")

def remember():
    runs.append(1)

def count():
    return len(runs)
"""


def test_a_users_file_is_executed_once_and_its_hooks_share_it(tmp_path: Path) -> None:
    path = tmp_path / "hooks.py"
    path.write_text(COUNTING)
    plugins.fetch_user_object(f"{path}:remember")()
    (tmp_path / "link.py").symlink_to(path)
    assert plugins.fetch_user_object(f"{tmp_path}/link.py:count")() == 1
    assert (tmp_path / "hooks.py.log").read_text() == "executed "


def test_a_users_file_that_was_edited_is_read_again(factory: Path) -> None:
    assert plugins.fetch_user_object(f"{factory}:build")() == 7
    factory.write_text("def build():\n    return 8\n")
    assert plugins.fetch_user_object(f"{factory}:build")() == 8
    assert list(factory.parent.iterdir()) == [factory], "bytecode would be taken for that of an edit in the same second"


def test_a_users_file_claims_no_bare_name(tmp_path: Path) -> None:
    (tmp_path / "no_such_package.py").write_text("def build():\n    return 7\n")
    built = plugins.fetch_user_object(f"{tmp_path}/no_such_package.py:build")
    assert built.__module__.startswith("deploy_prune_user_")
    assert built.__module__ in sys.modules
    assert "no_such_package" not in sys.modules


def test_a_file_that_fails_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "moody.py").write_text(
        "from pathlib import Path\nif not Path(__file__ + '.ok').exists(): 1 / 0\nx = 1\n"
    )
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        plugins.fetch_user_object(f"{tmp_path}/moody.py:x")
    (tmp_path / "moody.py.ok").touch()
    assert plugins.fetch_user_object(f"{tmp_path}/moody.py:x") == 1


def test_an_object_of_a_users_file_reaches_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module cannot be imported there by name, even where its folder is on the path: it goes along whole."""
    from deploy_prune.processes.workshop.parcels import pack

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text("FACTOR = 6\n\ndef build():\n    return 7 * FACTOR\n")
    (tmp_path / "parcel").write_bytes(pack(plugins.fetch_user_object(f"{tmp_path}/mine.py:build")))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'parcel')!r}, 'rb'))())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout.strip() == "42"

"""Plugins are found by their file names, built with their own options, and misspelt names are answered."""

from __future__ import annotations

import dataclasses
import importlib
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
    assert list(plugins.names(kind)) == sorted(files)


def test_a_misspelt_plugin_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownName) as caught:
        plugins.build("runtimes", "onnxruntim")
    assert caught.value.message == "unknown runtime 'onnxruntim'"
    assert "did you mean 'onnxruntime'?" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_is_a_frozen_dataclass_that_builds_with_its_defaults(kind: str) -> None:
    for name in plugins.names(kind):
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
    assert plugins.user_object(f"{factory}:build")() == 7


@pytest.mark.parametrize("address", ["", "file.py", "file.py:", ":build", "file.py:no identifier"])
def test_an_address_without_a_file_or_a_name_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a function"):
        plugins.user_object(address)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.py does not exist"):
        plugins.user_object(f"{tmp_path}/mine.py:build")


def test_a_misspelt_name_in_a_file_is_answered_with_the_closest(factory: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        plugins.user_object(f"{factory}:biuld")
    assert "did you mean 'build'?" in caught.value.hint


def test_a_file_that_fails_says_how(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=r"broken\.py could not be imported: ZeroDivisionError"):
        plugins.user_object(f"{tmp_path}/broken.py:build")

"""The wheel holds the package and nothing else, and works in an environment that has no torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deploy_prune import __version__

ROOT = Path(__file__).parents[1]
INSTALL_TIMEOUT_S = 300
PYTHONS = ("3.11", "3.12", "3.13")
SOURCES = ("antlr4-python3-runtime", "fvcore", "iopath")
"""Pure Python that has no wheels."""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], timeout_s=120)
    (built,) = folder.glob("*.whl")
    return built


def run(command: Sequence[object], *, timeout_s: float, why: str = "") -> str:
    """The command's stdout; a failure shows what it printed, after `why`."""
    # An environment of its own must not see the one the tests run in.
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    assert done.returncode == 0, f"{why}{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_the_wheel_holds_every_file_that_must_reach_users_and_no_other(wheel: Path) -> None:
    """The package with its data, and whatever pyproject's table says is developed elsewhere: no test, no tool."""
    info = f"deploy_prune-{__version__}.dist-info/"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith(info)}
    package = {path.relative_to(ROOT).as_posix() for path in files_of(ROOT / "deploy_prune")}
    assert "deploy_prune/py.typed" in package
    assert names == package | {name for place, name in developed_elsewhere()}


def test_what_is_developed_elsewhere_exists_and_lands_inside_the_package() -> None:
    for place, name in developed_elsewhere():
        assert place.is_file(), f"pyproject.toml ships {place}, which does not exist"
        assert name.startswith("deploy_prune/"), f"{name} would not be found by the package"


def developed_elsewhere() -> list[tuple[Path, str]]:
    """Files that pyproject's `force-include` puts into the wheel: where they stand here, and their names in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pairs = []
    for source, target in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        place = ROOT / source
        inside = [(path, f"{target}/{path.relative_to(place).as_posix()}") for path in files_of(place)]
        pairs += inside if place.is_dir() else [(place, target)]
    return pairs


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_carries_licence_version_and_console_script(wheel: Path) -> None:
    archive, info = zipfile.ZipFile(wheel), f"deploy_prune-{__version__}.dist-info"
    assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert "deploy-prune = deploy_prune.__main__:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert f"\nVersion: {__version__}\n" in archive.read(f"{info}/METADATA").decode()


def test_every_pinned_version_is_exact_and_names_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    versions = [line.partition(" ; ")[0] for line in pins]
    assert all(version.count("==") == 1 and not set(version) & set("@/ ") for version in versions)
    assert not [line for line in pins if ";" in line], "every Python that is supported takes the same versions"


def test_everything_that_is_asked_for_is_pinned() -> None:
    pins = {line.split("==")[0].lower().replace("_", "-") for line in constraints()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names = {re.split(r"[>=\[; ]", line)[0] for line in asked}
    assert names - {"deploy-prune"} <= pins


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_metadata_readme_and_makefile_name_the_same_pythons() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert tuple(named) == PYTHONS
    assert project["requires-python"] == ">=3.11,<3.14"
    assert f"PYTHONS := {' '.join(reversed(PYTHONS))}\n" in (ROOT / "Makefile").read_text()
    for page in ("README.md", "Makefile"):
        assert "Python 3.11, 3.12 or 3.13" in (ROOT / page).read_text()


@pytest.mark.heavy
@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_finds_the_pinned_versions_as_wheels(version: str, tmp_path: Path) -> None:
    """Metadata alone is read, on whatever Python the tests run: nothing is installed."""
    uv = Path(sys.executable).parent / "uv"
    sources = [word for name in SOURCES for word in ("--no-binary", name)]
    command = [uv, "pip", "compile", "--quiet", "--python-version", version, "--only-binary", ":all:", *sources]
    command += ["--extra", "all", "--extra", "dev", "--constraints", ROOT / "constraints.txt", ROOT / "pyproject.toml"]
    why = f"no solution for Python {version}; or is no package registry in reach?\n"
    run([*command, "--output-file", tmp_path / "resolved.txt"], timeout_s=INSTALL_TIMEOUT_S, why=why)
    resolved = (tmp_path / "resolved.txt").read_text()
    assert "coremltools==" in resolved
    assert "litert-torch==" in resolved


def make(folder: Path, *arguments: str, pythons: Mapping[str, int]) -> subprocess.CompletedProcess[str]:
    """`make` in a folder with the Makefile, where these Pythons are on the PATH; each fits (0) or does not."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "bin").mkdir()
    for name, code in pythons.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (folder / "bin" / name).chmod(0o755)
    program = shutil.which("make")
    assert program
    environment = {"PATH": str(folder / "bin")}
    words = [program, *arguments]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_make_takes_the_newest_python_that_fits(tmp_path: Path) -> None:
    done = make(tmp_path, "-n", "demo", pythons={"python3.13": 127, "python3.12": 0, "python3.11": 0, "python3": 0})
    assert "python3.12 -m venv .venv" in done.stdout, done.stderr


def test_make_says_what_it_needs_before_anything_is_downloaded(tmp_path: Path) -> None:
    done = make(tmp_path, "demo", pythons={"python3": 1, "python3.14": 0})
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a new environment with the wheel and its base dependencies from a package registry."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    install = [scripts / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    run(install, timeout_s=INSTALL_TIMEOUT_S, why="pip could not install the wheel; is a package registry in reach?\n")
    return scripts


@pytest.mark.heavy
def test_the_wheel_works_without_torch(bare: Path) -> None:
    assert "prune" in run([bare / "deploy-prune", "--help"], timeout_s=30)
    diagnosis = json.loads(run([bare / "deploy-prune", "doctor", "--json"], timeout_s=30))
    abilities = {(row["kind"], row["name"]): row for row in diagnosis["abilities"]}
    assert diagnosis["version"] == __version__
    assert not any(row["available"] for row in abilities.values())
    assert abilities["runtimes", "litert"]["install"] == "pip install 'deploy-prune[litert]'"
    assert abilities["exporters", "onnx"]["install"] == "pip install 'deploy-prune[onnx,prune]'"


@pytest.mark.heavy
@pytest.mark.parametrize("verb", ["demo", "inspect mobilenet_v2", "prune mobilenet_v2", "export mobilenet_v2"])
def test_a_verb_that_needs_torch_says_how_to_get_it(bare: Path, tmp_path: Path, verb: str) -> None:
    command = [bare / "deploy-prune", *verb.split(), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"]) == (3, "MissingDependency")
    assert error["hint"] == "pip install 'deploy-prune[prune]'"

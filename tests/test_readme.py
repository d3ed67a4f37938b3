"""What the README says is true: its tables are the records', its commands run in order from an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from as_user import run_as_user

from benchmarks import pages
from benchmarks.pages import block
from deploy_prune.__main__ import VERBS, run
from deploy_prune.pipeline.config import RunConfig, read_toml

TEXT = pages.README.read_text()
QUICKSTART = (pages.ROOT / "docs" / "quickstart.md").read_text()


COMMANDS = [shlex.split(line) for line in block("example: commands", TEXT).splitlines()]


def test_the_tables_are_those_of_the_records() -> None:
    assert pages.readme(TEXT) == TEXT, "run: python -m benchmarks.pages"
    assert pages.results() == pages.RESULTS_PAGE.read_text(), "run: python -m benchmarks.pages"


def test_it_is_read_in_one_sitting() -> None:
    assert len(TEXT.splitlines()) <= 150


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[1])
def test_every_flag_of_the_example_exists(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command[1] in VERBS
    assert run([command[1], "--help"]) == 0
    known = capsys.readouterr().out
    for flag in (word for word in command if word.startswith("--")):
        assert flag in known


def test_the_example_s_configuration_has_known_keys_alone() -> None:
    assert RunConfig.model_validate(read_toml(block("example: run.toml", TEXT), "README.md")).model == "my_net.py:build"


def test_the_make_targets_exist() -> None:
    makefile = (pages.ROOT / "Makefile").read_text()
    targets = re.findall(r"`make (\w+)`", TEXT)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with the two files of the example."""
    where = tmp_path_factory.mktemp("user")
    for name in ("my_net.py", "run.toml"):
        (where / name).write_text(block(f"example: {name}", TEXT))
    return where


def shape(text: str) -> str:
    """A text without its figures, and without what a busy machine turns round."""
    alike = re.sub(r"faster|slower|level|Faster than .*|\*\*Not faster\*\*.*|Pruned, but .*", "TIME", text)
    return re.sub(r"[+-]?\d[\d.,]*(e-\d+)?", "N", alike).strip()


def test_a_shape_has_no_figures_and_keeps_words() -> None:
    assert shape("0.479 [0.475, 0.485] = 2.09x faster, 1.2e-06") == "N [N N] = Nx TIME, N"


def stands_in(excerpt: str, printed: str) -> bool:
    """Whether the parts of an excerpt, with ... between them, are printed in this order."""
    parts = [re.escape(shape(part)) for part in excerpt.split("\n...\n")]
    return re.search(".*".join(parts), shape(printed), re.DOTALL) is not None


def test_an_excerpt_stands_in_what_was_printed_in_its_order() -> None:
    assert stands_in("took 3 s\n...\nsaved 4 files", "it took 5 s\nand more\nsaved 6 files")
    assert not stands_in("saved 4 files\n...\ntook 3 s", "took 5 s\nsaved 6 files")


@pytest.mark.heavy
def test_the_example_runs_as_it_stands(folder: Path) -> None:
    printed = ""
    for command in COMMANDS:
        done = run_as_user(folder, "-m", "deploy_prune", *command[1:])
        # On a busy machine a small network may come out no faster: its code says that.
        assert done.returncode in (0, 6), done.stderr
        printed += done.stdout
    assert stands_in(block("output", TEXT), printed)
    assert (folder / "run" / "export-1" / "pruned.tflite").is_file()


@pytest.mark.heavy
def test_the_python_example_runs_as_it_stands(folder: Path) -> None:
    counting = "\nprint(sum(p.numel() for p in small.parameters()), summary.dense.count.params)\n"
    done = run_as_user(folder, "-c", block("example: python", QUICKSTART) + counting)
    assert done.returncode == 0, done.stderr
    small, dense = map(int, done.stdout.split())
    assert 0 < small < dense
    assert (folder / "python-run" / "report.md").is_file()

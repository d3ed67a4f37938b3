"""Every command of README and docs: those of a page run in its order, from an empty folder with the page's files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from as_user import run_as_user

from deploy_prune.__main__ import GROUPS, VERBS, run

ROOT = Path(__file__).parents[1]
GENERATED = {"cli.md", "config.md"}
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in GENERATED)]
JOURNEYS = {"README.md": ("README.md", "docs/into-the-app.md"), "quickstart.md": ("docs/quickstart.md",)}
"""Pages that are followed one after the other, in one folder."""
LONG = ("docs/milliseconds.md",)
"""Pages whose commands measure for minutes."""
ELSEWHERE = {
    "pip install": "tests/test_packaging.py installs the wheel; the whole set takes minutes to download",
    "deploy-prune demo": "examples and tests/pipeline/test_run.py walk its road, `make demo` is run by hand",
    "ssh://pi@raspberrypi.local": "tests/pipeline/test_run_on_device.py and others, on a host of ours",
    "adb://R5CT20ABCDE": "the same, on a phone that is made up",
    "docs/imagenet.md": "weights and photographs of one's own; benchmarks.imagenet_macs cuts the same network",
    "docs/extending.md": "tests/test_docs_extending.py: its commands need the plugins that the page adds",
}
"""What is not run by this file -> who runs it, or why nobody does."""
DONE = {0, 6}
"""Exit codes of a command that did its work: on a busy machine a small network may come out no faster."""


def list_console(page: Path) -> list[str]:
    """The lines of a page's console blocks, without their comments."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


def list_inline(page: Path) -> list[str]:
    """The commands in a page's sentences that stand for themselves: no word of theirs is a placeholder."""
    spans = re.findall(r"`(deploy-prune [^`]+)`", page.read_text().replace("\n", " "))
    return [each for each in spans if not re.search(r"\b[A-Z]{2,}\b|\.\.\.", each)]


def is_elsewhere(page: Path, line: str) -> bool:
    return any(line.startswith(key) or key in line.split() or str(page.relative_to(ROOT)) == key for key in ELSEWHERE)


def write_files(page: Path, folder: Path) -> None:
    """The files that a page shows, under the names that it gives them."""
    text = page.read_text()
    files = re.findall(r"<!-- example: (\S+\.\w+) -->\n```\w+\n(.*?)```", text, re.DOTALL)
    files += re.findall(r"```python\n# (\S+\.py)\n(.*?)```", text, re.DOTALL)
    for name, content in files:
        (folder / name).write_text(content)


def follow(pages: tuple[str, ...], folder: Path) -> None:
    """Run the commands of pages in their order, as a user types them."""
    for page in (ROOT / name for name in pages):
        write_files(page, folder)
        for line in list_console(page):
            if is_elsewhere(page, line):
                continue
            done = run_as_user(folder, "-m", "deploy_prune", *shlex.split(line)[1:])
            assert done.returncode in DONE, f"{line}\n{done.stderr[-2000:]}"


def test_every_page_with_commands_is_followed_or_named() -> None:
    followed = {*LONG, *(page for pages in JOURNEYS.values() for page in pages)}
    for page in PAGES:
        left = [line for line in list_console(page) if not is_elsewhere(page, line)]
        assert not left or str(page.relative_to(ROOT)) in followed, f"{page.name}: {left}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_has_a_verb_and_flags_that_there_are(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (*list_console(page), *list_inline(page)):
        words = shlex.split(line)
        assert words[0] in {"deploy-prune", "pip"}, line
        if words[0] == "pip":
            continue
        verb = words[1:3] if words[1] in GROUPS else words[1:2]
        assert words[1] in {*VERBS, *GROUPS}, line
        if flags := [word for word in words if word.startswith("--")]:
            assert run([*verb, "--help"]) == 0
            known = capsys.readouterr().out
            assert all(flag in known for flag in flags), line


@pytest.mark.heavy
@pytest.mark.parametrize("pages", JOURNEYS.values(), ids=JOURNEYS)
def test_the_commands_run_in_order_from_an_empty_folder(pages: tuple[str, ...], tmp_path: Path) -> None:
    follow(pages, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", LONG)
def test_the_commands_that_measure_run_in_order_from_an_empty_folder(page: str, tmp_path: Path) -> None:
    follow((page,), tmp_path)

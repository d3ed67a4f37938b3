"""Writes docs/cli.md from the command line's own help and docs/config.md from the fields of a configuration.

python tools/reference.py
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

from deploy_prune.__main__ import GROUPS, VERBS, run
from deploy_prune.pipeline.config import HookAddresses, RunConfig
from deploy_prune.train.recipe import Recipe

ROOT = Path(__file__).parents[1]
CLI, CONFIG = ROOT / "docs" / "cli.md", ROOT / "docs" / "config.md"
EXAMPLE = ROOT / "examples" / "run.toml"


def main() -> int:
    """Write both pages."""
    CLI.write_text(cli_page())
    CONFIG.write_text(config_page())
    return 0


def cli_page() -> str:
    """Every verb with its help."""
    commands = [(verb,) for verb in VERBS] + [(group, verb) for group, verbs in GROUPS.items() for verb in verbs]
    parts = [
        "# Commands",
        "What `--help` prints, command by command. Results go to stdout, progress to stderr; with `--json` stdout "
        "holds one JSON object, errors too. Exit codes: [troubleshooting](troubleshooting.md#exit-codes). "
        "This page is written by `python tools/reference.py`.",
        f"```text\n{helped(())}\n```",
        *(f"## {' '.join(command)}\n\n```text\n{helped(command)}\n```" for command in commands),
    ]
    return "\n\n".join(parts) + "\n"


def helped(command: tuple[str, ...]) -> str:
    """The help of a command, 80 columns wide."""
    printed = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}), contextlib.redirect_stdout(printed):
        assert run([*command, "--help"]) == 0
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def config_page() -> str:
    """Every key of a run.toml, and the commented example."""
    parts = [
        "# Configuration",
        "`deploy-prune prune --config run.toml` reads these keys; flags override them, key by key within a table. "
        "In Python the same fields are `deploy_prune.RunConfig(...)`. A key that nobody knows is refused, with the "
        "closest one. This page is written by `python tools/reference.py`.",
        "## A complete run.toml",
        f"It is `examples/run.toml` in the repository.\n\n```toml\n{EXAMPLE.read_text().strip()}\n```",
        "## Keys",
        keys(RunConfig),
        "## [hooks]",
        "The caller's own code, as `path/to/file.py:name`: see the [quickstart](quickstart.md#your-own-training-loop).",
        keys(HookAddresses),
        "## [pretrain] and [finetune]",
        inspect.cleandoc(Recipe.__doc__ or ""),
        keys(Recipe),
    ]
    return "\n\n".join(parts) + "\n"


def keys(cls: type) -> str:
    """A table of a class's fields: name, type, default, and what the note below the field says."""
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{name}` | `{cell(kind)}` | {cell(default)} | {cell(note)} |" for name, kind, default, note in fields(cls)
    ]
    return "\n".join(rows)


def cell(text: str) -> str:
    """Text that cannot end a table's cell."""
    return text.replace("|", "\\|")


def fields(cls: type) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, default and note of every field, from the source."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    constants = vars(sys.modules[cls.__module__])
    assert isinstance(definition, ast.ClassDef)
    for statement, following in zip(definition.body, [*definition.body[1:], ast.Pass()], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        yield (
            statement.target.id,
            ast.unparse(statement.annotation),
            default_of(statement.value, constants),
            note_of(following),
        )


def default_of(value: ast.expr | None, constants: Mapping[str, object]) -> str:
    """How a field's default reads in TOML's reader's eyes."""
    if value is None:
        return "required"
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("Field", "field"):
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        return default_of(given["default"], constants) if "default" in given else "empty"
    if isinstance(value, ast.Name):  # a constant of the module, of which a reader wants the value
        return f"`{constants[value.id]!r}`"
    return "not set" if ast.unparse(value) == "None" else f"`{ast.unparse(value)}`"


def note_of(statement: ast.stmt) -> str:
    """The text below a field; empty where there is none."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


if __name__ == "__main__":
    sys.exit(main())

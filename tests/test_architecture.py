"""The shape of the code, checked on its syntax trees: import layers, sizes, names, and what a plugin file is."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import deploy_prune
from deploy_prune import plugins

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deploy_prune"

ORDER = (
    "ground", "formats", "processes", "timing", "analysis", "bundling", "graph", "sources", "train", "exporting",
    "budget", "scoring", "pipeline", "cli", "__main__", "__init__",
)  # fmt: skip
"""The packages in the order of their imports; "ground" are the modules of the package itself."""

WITHOUT_TORCH = ("ground", "formats", "processes", "timing", "analysis", "bundling", "cli", "__main__", "__init__")

FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file outside of the package, parsed once for all tests."""
    return ast.parse(path.read_text())


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    """The package that a module is in."""
    first = module.split(".", maxsplit=1)[0]
    return first if first in ORDER else "ground"


def is_plugin(module: str) -> bool:
    package, _, name = f"deploy_prune.{module}".rpartition(".")
    return package in plugins.PACKAGES.values() and not name.startswith("_")


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules of this package that are imported anywhere in a file, without the package's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from deploy_prune import plugins` imports the module `plugins`.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("deploy_prune.") and name != "deploy_prune.__version__":
                yield without_attribute(name.removeprefix("deploy_prune."))


def without_attribute(name: str) -> str:
    """`records.sha256` -> `records`, `models.timm` stays: the longest part that is a file or a folder."""
    path = PACKAGE.joinpath(*name.split("."))
    return name if path.is_dir() or path.with_suffix(".py").is_file() else name.rpartition(".")[0] or name


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_the_folders_are_the_packages_in_order() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == {"values", *ORDER[1:-2]}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_imports_never_run_back_up(path: Path) -> None:
    own = module_of(path)
    for name in imported(TREES[path]):
        assert ORDER.index(room_of(name)) <= ORDER.index(room_of(own)), f"{own} imports {name}, which is above it"
        assert not (is_plugin(own) and is_plugin(name)), f"{own} imports the plugin {name}"


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module_of(path): set(imported(tree)) for path, tree in TREES.items()}).prepare()


@pytest.mark.parametrize("path", FILES, ids=label)
def test_files_have_fewer_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 300


@pytest.mark.parametrize("path", FILES, ids=label)
def test_functions_are_short_and_take_few_parameters(path: Path) -> None:
    for function in functions(TREES[path]):
        documented = ast.get_docstring(function, clean=False)
        docstring = documented.count("\n") + 1 if documented else 0
        length = (function.end_lineno or 0) - function.lineno + 1 - docstring
        assert length <= 40, f"{function.name} has {length} lines"
        if path.parent.name in {"cli", "mil"}:  # a verb's parameters are its flags; an MIL operator's are Apple's
            continue
        arguments = function.args
        names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        assert len([name for name in names if name not in {"self", "cls"}]) <= 6, function.name


SAY_THIS_MACHINE = {
    "timing/devices/__init__.py": "defines it",
    "analysis/bench.py": "what users call without a device",
    "analysis/describe.py": "says whether a file opens here",
    "analysis/explain.py": "what users call without a device",
    "budget/costs/latency.py": "an option of a cost",
    "bundling/golden.py": "golden pairs are answered where a bundle is made and checked",
    "pipeline/config.py": "a field of the configuration",
    "pipeline/priced.py": "a run whose device is a table's name times its files here",
}
"""Modules that may take the machine that deploy-prune runs on where nothing is said, and why; beside them all verbs."""


def test_only_what_users_call_takes_this_machine_for_granted() -> None:
    named = {
        path.relative_to(PACKAGE).as_posix()
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "THIS_MACHINE"
    }
    assert {name for name in named if not name.startswith("cli/")} == set(SAY_THIS_MACHINE)


BEGIN_NO_SENTENCE = {
    "As", "At", "Between", "By", "For", "From", "Into", "Of", "On", "Per", "So", "That", "To", "Who", "Whose",
    "With", "Without",
}  # fmt: skip


def docstrings(tree: ast.AST) -> Iterator[str]:
    """What stands below modules, classes, functions, and fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                match statement:
                    case ast.Expr(ast.Constant(str(text))):
                        yield text.strip()


def test_docstrings_are_sentences_that_a_user_would_say() -> None:
    beside = (path for folder in ("tests", "benchmarks", "tools", "examples") for path in (ROOT / folder).rglob("*.py"))
    trees = {**TREES, **{path: tree_of(path) for path in beside}}
    lines = [(label(path), text.splitlines()[0]) for path, tree in trees.items() for text in docstrings(tree)]
    fragments = [(where, line) for where, line in lines if line.split()[0] in BEGIN_NO_SENTENCE]
    assert not fragments, "these begin like no sentence; write who or what does, or is, something"


def test_locals_say_what_they_hold() -> None:
    """`found` says that somebody looked for something; a reader wants to know what it is."""
    for path, tree in TREES.items():
        for function in functions(tree):
            for node in ast.walk(function):
                is_local = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "found"
                assert not is_local, f"{label(path)}: a local of {function.name} is called found"


def test_every_module_that_stands_in_a_string_is_there() -> None:
    """Subprocesses, tables of plugins and lazy imports name modules in strings, which no type checker reads."""
    strings = {
        node.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = sorted(text for text in strings if re.fullmatch(r"deploy_prune(\.\w+)+", text))
    assert {"deploy_prune.timing.worker", *plugins.PACKAGES.values()} <= set(names)
    for name in names:
        assert importlib.import_module(name)


@pytest.mark.parametrize("path", FILES, ids=label)
def test_modules_say_what_they_are(path: Path) -> None:
    assert ast.get_docstring(TREES[path])
    assert path.stem not in {"utils", "helpers", "common", "misc", "manager", "handler"}


@pytest.mark.parametrize("path", FILES, ids=label)
def test_no_reflection_by_string(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        assert node.func.id not in {"eval", "exec", "hasattr", "setattr", "delattr"}, f"line {node.lineno}"
        if node.func.id == "getattr":
            assert isinstance(node.args[1], ast.Constant), f"line {node.lineno}: getattr by a computed name"


def plugin_files() -> list[Path]:
    return [path for path in FILES if is_plugin(module_of(path)) and path.stem != "__init__"]


@pytest.mark.parametrize("path", plugin_files(), ids=label)
def test_a_plugin_file_ends_by_naming_its_frozen_dataclass(path: Path) -> None:
    body = TREES[path].body
    last = body[-1]
    assert isinstance(last, ast.AnnAssign), "name the contract, so that mypy checks it: plugin: type[Contract] = Name"
    assert ast.unparse(last.target) == "plugin"
    assert last.value
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    cls = classes[ast.unparse(last.value)]
    assert not cls.bases
    decorators = [ast.unparse(decorator) for decorator in cls.decorator_list]
    assert any("dataclass(" in text and "frozen=True" in text for text in decorators)


def test_public_names_are_sorted() -> None:
    names = list(vars(deploy_prune).get("__all__", ()))
    assert names == sorted(names)


COPIES_TO_MEND = 2
"""Runs of equal lines that are known and not mended yet: it only shrinks."""


def test_no_code_is_written_twice() -> None:
    """Six equal lines in a row, imports and blank lines aside, are a copy."""
    window = 6
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path in FILES:
        lines = code_lines(path)
        for start in range(len(lines) - window + 1):
            block = tuple(line for _, line in lines[start : start + window])
            places[block].append(f"{label(path)}:{lines[start][0]}")
    copies = [where for where in places.values() if len(where) > 1]
    assert len(copies) <= COPIES_TO_MEND, copies


def code_lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of each line that is neither blank nor part of an import."""
    imports = {
        number
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(path.read_text().splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip() and number not in imports]


def test_the_timing_side_works_where_torch_is_not_installed() -> None:
    """Imports the modules with torch and everything of `[prune]` that needs it made unimportable."""
    modules = [module_of(path) for path in FILES if room_of(module_of(path)) in WITHOUT_TORCH]
    modules = [module for module in modules if not module.startswith("processes.workers.")]  # they run torch
    names = ["deploy_prune" if module == "__init__" else f"deploy_prune.{module}" for module in modules]
    names += plugins.PACKAGES.values()  # `doctor` names the plugins of every kind
    blocked = dict.fromkeys(("torch", "torchvision", "timm", "fvcore", "safetensors", "scipy", "sklearn", "PIL"))
    code = f"import sys; sys.modules.update({blocked!r})\nimport importlib\n"
    code += f"for name in {names!r}: importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_free() -> None:
    code = "import sys, deploy_prune; print(sorted({'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


STILL_PATCHED = {
    "cli/test_export.py": "what flags lead to is looked at where the work would begin, which takes minutes",
    "cli/test_prune.py": "what flags lead to is looked at where the work would begin, which takes minutes",
    "contracts/test_readers.py": "a process of LiteRT for each of some hundred broken files would take minutes",
    "scoring/methods/test_dcp.py": "which groups are selected again, and a loss that breaks, are seen inside alone",
    "scoring/methods/test_dkp.py": "kernels are counted before the units that lose all of theirs are given some",
    "test_plugins.py": "a plugin that is made for a test takes the place of the package's files",
    "train/test_accelerator.py": "fvcore's tracer does not work on the pretended GPU, and no run leaves it out",
}
"""Tests that replace a name of the package while they run, and why no value is passed there: the list only shrinks."""


def patches(tree: ast.AST) -> Iterator[int]:
    """The lines in which a test replaces something of the package by `setattr`, `setitem` or `patch.object`."""
    ours = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if "deploy_prune" in {(node.module if isinstance(node, ast.ImportFrom) else alias.name or "").partition(".")[0]}
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if node.func.attr in {"setattr", "setitem", "delattr", "delitem", "object", "patch"}:
            named = ast.unparse(node.args[0]).strip("'\"").partition(".")[0]
            if named in {*ours, "deploy_prune"}:
                yield node.lineno


def test_tests_pass_values_and_patch_the_package_nowhere_else() -> None:
    tests = ROOT / "tests"
    patched = {str(path.relative_to(tests)) for path in tests.rglob("*.py") if any(patches(tree_of(path)))}
    assert patched <= STILL_PATCHED.keys(), "pass the value, or change the code so that it takes one"
    assert STILL_PATCHED.keys() <= patched, "these patch nothing any more: take them off the list"


@pytest.mark.parametrize("path", FILES, ids=label)
def test_only_devices_and_workers_know_the_address_of_this_machine(path: Path) -> None:
    """All others take an address, or `THIS_MACHINE` and `USUAL` where none is named."""
    if label(path) in {"deploy_prune/timing/devices/__init__.py", "deploy_prune/processes/workers/__init__.py"}:
        return
    for node in ast.walk(TREES[path]):
        assert not (isinstance(node, ast.Constant) and node.value == "local"), f"{label(path)}:{node.lineno}"

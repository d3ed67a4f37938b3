"""The public names are what `__all__` says, each resolves, and no module takes the place of one."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import deploy_prune
from deploy_prune.__main__ import VERBS

SOURCE = ast.parse(Path(deploy_prune.__file__).read_text())


def test_all_names_what_type_checkers_see() -> None:
    seen = {
        alias.asname or alias.name
        for node in SOURCE.body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert sorted(seen) == deploy_prune.__all__


def test_every_verb_is_a_function() -> None:
    assert set(VERBS) <= set(deploy_prune.__all__)


@pytest.mark.parametrize("name", deploy_prune.__all__)
def test_a_public_name_is_what_type_checkers_take_it_for(name: str) -> None:
    """Two tables say where a name is at home: the imports under TYPE_CHECKING, and the one that is used at run time."""
    (home, there), = (
        (node.module or "", alias.name)
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) == name
    )  # fmt: skip
    assert vars(deploy_prune)["__getattr__"](name) is vars(importlib.import_module(home))[there]


def test_no_module_bears_a_public_name() -> None:
    """A submodule becomes an attribute of the package when it is imported, in place of the function."""
    modules = {module.name for module in pkgutil.iter_modules(deploy_prune.__path__)}
    assert not modules & set(deploy_prune.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="prnue"):
        vars(deploy_prune)["__getattr__"]("prnue")


def test_names_that_need_no_torch_resolve_without_it() -> None:
    code = "import sys; sys.modules.update(torch=None); import deploy_prune as d; print(d.bench, d.doctor, d.report)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

"""Plugins are files: the file name is the name on the command line, `plugin` in it is what is built.

A plural package is a kind (`methods`, `exporters`, ...). Each of its files ends in `plugin = SomeClass`, a
frozen dataclass whose fields are its options and that fulfils the contract in the package's `__init__`.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_type_hints

from deploy_prune.errors import ConfigError, MissingDependency, UnknownName
from deploy_prune.trust import require_trust
from deploy_prune.user_files import load_user_module

Contract = TypeVar("Contract")

PACKAGES = {
    "costs": "deploy_prune.budget.costs",
    "datasets": "deploy_prune.sources.datasets",
    "devices": "deploy_prune.timing.devices",
    "exporters": "deploy_prune.exporting.exporters",
    "methods": "deploy_prune.scoring.methods",
    "models": "deploy_prune.sources.models",
    "readers": "deploy_prune.analysis.readers",
    "runtimes": "deploy_prune.timing.runtimes",
    "tasks": "deploy_prune.train.tasks",
    "templates": "deploy_prune.formats.templates",
    "workers": "deploy_prune.processes.workers",
}
"""Kind of plugin -> the package that holds its files and, in `__init__`, its contract."""


OTHERS = "others"
"""The field of a plugin that takes options of whatever it stands for, such as a constructor's keywords."""


class Kind(str, Generic[Contract]):
    """A kind of plugin: the name of its folder, typed with the contract that this folder's `__init__` defines."""

    __slots__ = ()


def list_names(kind: str) -> tuple[str, ...]:
    """The plugins of a kind, sorted; imports none of them."""
    package = importlib.import_module(PACKAGES[kind])
    files = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in files if not name.startswith("_")))


def load(kind: Kind[Contract], name: str) -> type[Contract]:
    """Load the class of a plugin, unbuilt.

    Raises:
        UnknownName: no file of that name.
        MissingDependency: the file needs torch, and it is not installed.
    """
    if name not in list_names(kind):
        raise UnknownName(kind.rstrip("s"), name, list_names(kind))
    try:
        return cast("type[Contract]", importlib.import_module(f"{PACKAGES[kind]}.{name}").plugin)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("deploy_prune"):
            raise
        raise MissingDependency(error.name or name, "prune") from error


def list_options(kind: Kind[Any], name: str) -> frozenset[str]:
    """The options of a plugin, which are the fields of its class.

    Raises:
        UnknownName, MissingDependency: see `load`.
    """
    return frozenset(field.name for field in dataclasses.fields(load(kind, name))) - {OTHERS}


def build(kind: Kind[Contract], name: str, options: Mapping[str, Any] | None = None) -> Contract:
    """Build a plugin with its options set; one with a field `others` takes all that it does not know there.

    Raises:
        UnknownName: no such plugin, or no such option.
        ConfigError: the plugin has no options, or refuses the value of one.
    """
    cls, known, options = load(kind, name), list_options(kind, name), dict(options or {})
    others = {key: options.pop(key) for key in tuple(options) if key not in known}
    if others and not _takes_others(cls):
        key = next(iter(others))
        if known:
            raise UnknownName(f"option of {name}", key, known)
        hint = "leave it out" + "; what a function of your own needs is written in its file" * (name == "file")
        raise ConfigError(f"{kind.rstrip('s')} '{name}' takes no options, got '{key}'", hint=hint)
    try:
        return cls(**_convert_options(cls, options), **({OTHERS: others} if others else {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind.rstrip('s')} '{name}': {error}") from error


def _takes_others(cls: type[Any]) -> bool:
    return any(field.name == OTHERS for field in dataclasses.fields(cls))


def _convert_options(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as their fields have them: a list of a file becomes a tuple, a text in place of a number is refused.

    Raises:
        ValueError: names the option, and what was given.
    """
    if not options:
        return {}
    kinds = get_type_hints(cls, include_extras=True)
    return {key: _convert_option(key, value, kinds[key]) for key, value in options.items()}


def _convert_option(name: str, value: Any, kind: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"{name}: {message}, got {reprlib.repr(value)}") from error


def fetch_user_object(address: str) -> Any:
    """Fetch the object that `path/to/file.py:name` names; the user's file is executed once per process.

    Objects of one file share its module, so that what a hook remembers the next one sees; an edited file is another
    module. No module claims the file's bare name: `resnet.py` hides no package `resnet`. What it imports may
    lie beside it.

    Raises:
        ConfigError: no such file, no such name, or the file fails while it is imported.
        UntrustedCode: nobody but a record has named the file.
    """
    path_text, _, attribute = address.rpartition(":")
    path = Path(path_text)
    if not path_text or not attribute.isidentifier():
        raise ConfigError(f"'{address}' is no address of a function", hint="write path/to/file.py:name")
    if not path.is_file():
        raise ConfigError(f"{path} does not exist", hint=f"'{address}' should name a Python file")
    require_trust(path)
    module = load_user_module(path)
    if attribute not in vars(module):
        public = (name for name in vars(module) if not name.startswith("_"))
        raise UnknownName(f"name in {path}", attribute, public)
    return vars(module)[attribute]

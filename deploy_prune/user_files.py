"""Users' own Python files: executed as they stand, and able to import what lies beside them, which nobody else sees.

`import layers` in `my_net.py` finds the `layers.py` or `layers/` of its folder, at the top of the file or in a function
that is called later. A folder is a package of its own hidden name: `sys.path` stays as it is, two folders' files of
one name do not mix, and a file beside it takes no package's place for anybody else.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from deploy_prune.errors import ConfigError

USER_MODULE = "deploy_prune_user_"
"""The names of modules of users' files begin with this; a digest of the file's path and content follows."""
FOLDER = f"{USER_MODULE}beside_"
"""The names of the packages that users' folders are begin with this; a digest of the folder's path follows."""


def load_user_module(path: Path) -> ModuleType:
    """Execute a user's file, once per process as long as it says the same.

    Raises:
        ConfigError: it fails.
    """
    content = b"\0".join((str(path.resolve()).encode(), path.read_bytes()))
    name = f"{USER_MODULE}{hashlib.sha256(content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _AsItStands(name, str(path), path.resolve().parent)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec
    importlib.invalidate_caches()  # a file beside it may be a moment old
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(sys.modules[name])
    except Exception as error:
        del sys.modules[name]
        hint = f"`python {path}` shows the line; what it imports must be installed here, or lie beside it"
        raise ConfigError(f"{path} could not be imported: {type(error).__name__}: {error}", hint=hint) from error
    return sys.modules[name]


class _AsItStands(SourceFileLoader):
    """Compiles a user's file anew: bytecode on disk is taken for that of an edit within the same second."""

    def __init__(self, name: str, path: str, folder: Path) -> None:
        super().__init__(name, path)
        self.folder = folder

    def get_code(self, fullname: str) -> CodeType:
        """What the file says now; nothing is written beside it."""
        del fullname
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the file with an `import` that looks into its folder first."""
        find = _make_import(Path(self.path).resolve(), self.folder)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": find}
        super().exec_module(module)


def _make_import(importer: Path, folder: Path) -> Callable[..., ModuleType]:
    """What `import` does in a user's file: the folder's own modules come first, as in a script."""

    def import_beside(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the name that Python gives it
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not _lies_beside(top, importer, folder):
            return builtins.__import__(name, globals, locals, fromlist, level)
        package = _make_package(folder)
        module = builtins.__import__(f"{package}.{name}", None, None, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{package}.{top}"]

    return import_beside


def _lies_beside(top: str, importer: Path, folder: Path) -> bool:
    """Whether a name is that of a module in the folder, and neither the importing file nor found there anyway."""
    if top == __name__.partition(".")[0]:
        return False
    files = (folder / top / "__init__.py", folder / f"{top}.py")
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        return (folder / top).is_dir() and _find_elsewhere(top) is None
    elsewhere = _find_elsewhere(top)
    same = elsewhere is not None and elsewhere.origin is not None and Path(elsewhere.origin).resolve() == file
    return file != importer and not same


def _find_elsewhere(top: str) -> ModuleSpec | None:
    """What everybody else's import of that name finds."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


def _make_package(folder: Path) -> str:
    """The name of the package that a folder is."""
    name = f"{FOLDER}{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    return name


class _Folders:
    """Finds modules of the packages that users' folders are, and of no others."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if path is None or not name.startswith(FOLDER):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            (folder,) = sys.modules[name.partition(".")[0]].__path__
            spec.loader = _AsItStands(name, spec.loader.path, Path(folder))
        return spec


_FINDER: Any = _Folders()

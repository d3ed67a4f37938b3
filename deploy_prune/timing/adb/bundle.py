"""What runs files on a phone: Python and the runtimes for arm64 with a C library of their own, as one archive.

Android has another C library than the wheels of the runtimes are built for. The archive brings that with its own
loader, so that nothing is installed, and apps see nothing of it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.errors import StorageError
from deploy_prune.records import sha256
from deploy_prune.scratch import hold_new_folder
from deploy_prune.timing.arm64.system import SITE, SYSTEM, WHEELS, read_python_version, unpack_system

ARCHIVE, READY = "bundle.tar", "ready.json"
"""The archive, and what is written last: its digest."""
LOADER = "ld-linux-aarch64.so.1"
START = f"""\
#!/system/bin/sh
b=${{0%/*}}
exec "$b/lib/{LOADER}" --library-path "$b/lib" "$b/usr/bin/python3" "$@"
"""
"""The program `python` of the archive: the interpreter, by the loader and with the libraries that come along."""
LIBRARIES = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu")
LEFT_OUT: Mapping[str, frozenset[str]] = {
    "usr/lib": frozenset({
        "__pycache__", "test", "tests", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "tkinter", "distutils",
        "unittest", "xmlrpc", "venv", "sqlite3", "curses", "dbm", "wsgiref", "turtledemo",
    }),
    SITE: frozenset({
        "__pycache__", "tests", "f2py", "distutils", "typing", "transformers", "quantization", "tools",
        "libLiteRtWebGpuAccelerator.so", "ThirdPartyNotices.txt", f"libonnxruntime.so.{WHEELS['onnxruntime']}",
    }),
}  # fmt: skip
"""Names that stay behind, files and folders: nothing that runs a file imports them."""


@dataclass(frozen=True)
class Bundle:
    """The archive, on this machine."""

    path: Path
    """Where it is."""
    sha256: str
    """Its digest, by which it is kept on devices."""


def find_bundle(folder: Path) -> Bundle:
    """The archive in a folder, which is made first where it is missing.

    Raises:
        Unavailable: a program is missing, or a package cannot be had.
        StorageError: the folder cannot be written.
    """
    if not (folder / READY).exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with hold_new_folder(folder.parent, "phone-new-") as fresh:
                unpack_system(fresh)
                (fresh / "kept").mkdir()
                pack_system(fresh, fresh / "kept" / ARCHIVE)
                (fresh / "kept" / READY).write_text(json.dumps(sha256(fresh / "kept" / ARCHIVE)))
                (fresh / "kept").rename(folder)
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror}", hint="free some 600 MB there") from error
    return Bundle(folder / ARCHIVE, json.loads((folder / READY).read_text()))


def usual_folder() -> Path:
    """In the platform's cache folder; its name changes with what it holds."""
    from platformdirs import user_cache_path

    return user_cache_path("deploy-prune", appauthor=False) / f"phone-{'-'.join(WHEELS.values())}"


def pack_system(folder: Path, archive: Path) -> None:
    """Pack what runs files of an unpacked system; the same system gives the same bytes."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as packed:
        _add(packed, "python", START.encode(), 0o755)
        for name, path in sorted(_list_files(folder)):
            _add(packed, name, path.read_bytes(), 0o755 if _is_program(name) else 0o644)


def _add(packed: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    packed.addfile(entry, io.BytesIO(content))


def _is_program(name: str) -> bool:
    return name.startswith("usr/bin/") or name == f"lib/{LOADER}"


def _list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name in the archive -> file. Links become what they lead to: a file system of a device may have none."""
    system = folder / SYSTEM
    version = read_python_version(system)
    yield "usr/bin/python3", system / "usr" / "bin" / f"python{version}"
    libraries = {path.name: path for place in LIBRARIES for path in (system / place).glob("*.so*")}
    yield from ((f"lib/{name}", path) for name, path in libraries.items() if path.is_file() and _is_wanted(path))
    library = f"usr/lib/python{version}"
    yield from _walk(system / library, library, LEFT_OUT["usr/lib"])
    yield from _walk(folder / SITE, "usr/lib/python3/dist-packages", LEFT_OUT[SITE])


def _is_wanted(library: Path) -> bool:
    """The names that programs ask for: `libz.so.1`, not the `libz.so.1.2.13` that it leads to."""
    stem, _, number = library.name.partition(".so")
    return bool(stem) and number.count(".") <= 1


def _walk(folder: Path, name: str, left_out: frozenset[str]) -> Iterator[tuple[str, Path]]:
    for path in folder.iterdir():
        if path.name in left_out:
            continue
        if path.is_dir():
            yield from _walk(path, f"{name}/{path.name}", left_out)
        elif path.is_file():
            yield f"{name}/{path.name}", path

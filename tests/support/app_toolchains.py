"""The compilers that `tools/app_toolchains` fetches, or the system's own: where they are, and how they are called."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 600
BRIEFLY = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""What makes a Java that runs for seconds take fewer of them."""
SETUP = "tools/app_toolchains"


def _find_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DEPLOY_PRUNE_TOOLCHAINS") or Path(cache, "deploy-prune", "toolchains"))


FOLDER = _find_folder()
"""Looked up at once: the tests get a cache of their own before they begin."""
KOTLIN = FOLDER / "kotlin/node_modules/kotlin-compiler"
SWIFT_ROOT = FOLDER / "swift/root"
JAVA = shutil.which("java")


def _say_what_kotlin_lacks() -> str:
    if not JAVA:
        return "there is no Java here (Debian: openjdk-17-jdk-headless)"
    there = (FOLDER / "kotlin/complete").exists()
    return "" if there else f"there is no Kotlin compiler here; `{SETUP} kotlin` fetches it"


def _say_what_swift_lacks() -> str:
    if shutil.which("swift"):
        return ""
    if not (FOLDER / "swift/complete").exists():
        return f"there is no Swift here; `{SETUP} swift` fetches it"
    tried = [*_enter(), "true"]
    return "" if subprocess.run(tried, capture_output=True, check=False).returncode == 0 else "no mount namespaces here"


def _enter() -> list[str]:
    """Words that run a command in namespaces of its own, where it may mount."""
    words = ["unshare", "--mount", "--pid", "--fork"]
    return words if os.geteuid() == 0 else [*words, "--map-root-user"]


INSIDE = """set -e
root="$1"; folder="$2"; shift 2
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount --bind "$folder" "$root/work"
exec chroot "$root" /bin/bash -c 'cd /work && exec "$@"' bash "$@"
"""
"""Runs a command in a folder within a root; all mounts end with it."""
NO_KOTLIN, NO_SWIFT = _say_what_kotlin_lacks(), _say_what_swift_lacks()
"""Why no test needs to try; empty: they are there."""


@dataclass(frozen=True)
class Kotlin:
    """Compiled Kotlin, and what it runs with."""

    classes: Path
    main: str
    beside: tuple[Path, ...] = ()

    def run(self, *words: object) -> list[str]:
        """Run it; the lines that it prints."""
        assert JAVA
        path = os.pathsep.join(map(str, (self.classes, *self.beside, KOTLIN / "lib/kotlin-stdlib.jar")))
        return run([JAVA, *BRIEFLY, "-cp", path, self.main, *map(str, words)])


def compile_kotlin(sources: Sequence[Path], target: Path, beside: Sequence[Path] = ()) -> None:
    """Compile Kotlin for the JVM; a warning is an error."""
    assert JAVA
    home = Path(JAVA).resolve().parents[1]
    path = os.pathsep.join(map(str, (*beside, KOTLIN / "lib/kotlin-stdlib.jar")))
    words = [
        JAVA,
        *BRIEFLY,
        "-Xmx1g",
        "-cp",
        KOTLIN / "lib/kotlin-compiler.jar",
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
    ]
    words += ["-kotlin-home", KOTLIN, "-jdk-home", home, "-Werror", "-no-reflect", "-no-stdlib", "-cp", path]
    run([str(word) for word in (*words, "-d", target, *sources)])


def run_swift(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Run a program of Swift's in a folder, in the system's own Swift or in the root of its own."""
    given = [f"{name}={value}" for name, value in (environment or {}).items()]
    if own := shutil.which(words[0]):
        return run(["env", *given, own, *words[1:]], folder)
    program = words[0] if words[0] == "swiftc" else f"/usr/libexec/swift/bin/{words[0]}"
    inside = ["env", "HOME=/tmp", *given, program, *words[1:]]
    return run([*_enter(), "bash", "-c", INSIDE, "bash", str(SWIFT_ROOT), str(folder), *inside])


def run(words: Sequence[str], folder: Path | None = None) -> list[str]:
    """Run a program to its good end; the lines that it prints, errors among them."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(words, cwd=folder, **streams, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{' '.join(words)[:500]}\n{done.stdout[-8000:]}"
    return done.stdout.splitlines()

"""Packages that nobody has installed, or that seem so."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

import pytest


def uninstall(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make Python know nothing of these distributions while a test runs; what is imported already stays."""
    known = metadata.Distribution.from_name

    def find(name: str) -> metadata.Distribution:
        if name in packages:
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata.Distribution, "from_name", find)


NOT_EVERYWHERE = {"coreai": ("coreai_torch", "Core AI's packages are for Linux on x86-64 and macOS on Apple silicon")}
"""Plugin -> what it imports, and why that cannot be installed on every machine that tests run on."""


def require(plugin: str) -> None:
    """Skip where the packages of a plugin cannot be installed; those of the others always are."""
    module, reason = NOT_EVERYWHERE.get(plugin, ("", ""))
    if module and find_spec(module) is None:
        pytest.skip(reason)

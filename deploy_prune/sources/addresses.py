"""How networks and data are named: `NAME`, `NAME:REST` or `path/to/file.py:factory`. Imports no torch."""

from __future__ import annotations


def split_address(address: str) -> tuple[str, str]:
    """The plugin's name and the rest: a path to a Python file belongs to the plugin `file`."""
    if address.rpartition(":")[0].endswith(".py"):
        return "file", address
    name, _, rest = address.partition(":")
    return name, rest

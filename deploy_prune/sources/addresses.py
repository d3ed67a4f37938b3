"""How networks and data are named: `NAME`, `NAME:REST` or `path/to/file.py:factory`. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.plugins import Kind


def split_address(address: str) -> tuple[str, str]:
    """The plugin's name and the rest: a path to a Python file belongs to the plugin `file`."""
    if address.rpartition(":")[0].endswith(".py"):
        return "file", address
    name, _, rest = address.partition(":")
    return name, rest


def refuse_path(kind: Kind[Any], address: str) -> None:
    """Refuse a path to a file or folder that stands where a network's or a data set's address is expected.

    Args:
        kind: models or datasets.
        address: what was given; a folder that is called as a source is no path.

    Raises:
        ConfigError: it is a path; the hint says what its address is.
    """
    is_known = split_address(address)[0] in plugins.list_names(kind)
    if is_known or not (address.endswith(".py") or Path(address).exists()):
        return
    if address.endswith(".py"):
        hint = f"write {address}:NAME, the name of a function in it"
    elif kind == "models":
        hint = "a network is named as torchvision:NAME or my_net.py:FUNCTION; its trained weights go to --weights FILE"
    else:
        hint = (
            f"write imagefolder:{address} for a folder (or .tar) with a folder per class, images:{address} for images "
            "without labels, or my_data.py:FUNCTION"
        )
    raise ConfigError(f"'{address}' is a path, not the address of a {kind.rstrip('s')}", hint=hint)

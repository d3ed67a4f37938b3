"""What a long selection has finished, on disk after each group, so that a killed one goes on to the same result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from deploy_prune.errors import RecordError
from deploy_prune.records import write_atomic

_BETWEEN = "\t"
"""What stands between the name of what is finished and those of its tensors."""


class SelectionProgress:
    """What one selection has finished; it is kept in memory alone, where there is no file."""

    def __init__(self, path: Path | None, identity: str) -> None:
        """Begin, or go on with what an interrupted selection has left.

        Raises:
            RecordError: the file is damaged, or of another selection.
        """
        self._path, self._identity = path, identity
        self._tensors = _read_file(path, identity) if path is not None and path.exists() else {}

    def recall(self, name: str) -> dict[str, Tensor] | None:
        """Look up what was written down under a name; None: nothing."""
        prefix = f"{name}{_BETWEEN}"
        tensors = {key.removeprefix(prefix): value for key, value in self._tensors.items() if key.startswith(prefix)}
        return tensors or None

    def add(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write down what is finished.

        Raises:
            StorageError: the file system refused.
        """
        self._tensors |= {f"{name}{_BETWEEN}{key}": value.detach().cpu().contiguous() for key, value in tensors.items()}
        if self._path is not None:
            # Clones: safetensors refuses tensors that share memory.
            content = save({key: value.clone() for key, value in self._tensors.items()}, {"selection": self._identity})
            write_atomic(self._path, lambda temporary: temporary.write_bytes(content))


def _read_file(path: Path, identity: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            written_for = (file.metadata() or {}).get("selection")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise RecordError(f"{path} is damaged: {error}", hint="remove it to select from the start") from error
    if written_for != identity:
        message = f"{path} is of another selection (other weights, widths, images or settings)"
        raise RecordError(message, hint="remove it to select from the start")
    return tensors

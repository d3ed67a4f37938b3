"""The user's own data: `path/to/file.py:factory`, where `factory()` returns a `deploy_prune.values.Data`."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune import plugins
from deploy_prune.errors import DataError
from deploy_prune.sources.datasets import DataSource
from deploy_prune.values import Data


@dataclass(frozen=True)
class FileData:
    """Calls a function of the user's own file (and so runs the file)."""

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        factory = plugins.fetch_user_object(rest)
        try:
            data = factory()
        except Exception as error:
            hint = "it is called without arguments, and returns a deploy_prune.values.Data"
            raise DataError(f"{rest} failed: {type(error).__name__}: {error}", hint=hint) from error
        if not isinstance(data, Data):
            raise DataError(f"{rest} returned a {type(data).__name__}", hint="return a deploy_prune.values.Data")
        if size is not None and size != data.image_shape[1:]:
            height, width = data.image_shape[1:]
            message = f"{rest} gives images of {height}x{width}, {size[0]}x{size[1]} is asked for"
            raise DataError(message, hint=f"have it give images of that size, or ask for 3,{height},{width}")
        return data


plugin: type[DataSource] = FileData

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
            raise DataError(f"{rest} failed: {type(error).__name__}: {error}") from error
        if not isinstance(data, Data):
            raise DataError(f"{rest} returned a {type(data).__name__}", hint="return a deploy_prune.values.Data")
        if size not in (None, data.image_shape[1:]):
            raise DataError(f"{rest} gives images of {data.image_shape[1:]}, {size} is asked for")
        return data


plugin: type[DataSource] = FileData

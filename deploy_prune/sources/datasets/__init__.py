"""The contract of a data source: `NAME` or `NAME:PATH` on the command line reads a data set."""

from __future__ import annotations

from typing import Protocol

from deploy_prune.plugins import Kind
from deploy_prune.values import Data


class DataSource(Protocol):
    """Reads a data set in fixed splits; the fields of the plugin are its options."""

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """`size` is (height, width) of the images, None: the data set's own.

        Raises:
            DataError: nothing there, nothing readable, or not such a set.
        """


DATASETS: Kind[DataSource] = Kind("datasets")

"""The images of a run: those that it began with, whatever breaks or is taken away meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy_prune import plugins
from deploy_prune.errors import DataError
from deploy_prune.records import read_record, write_record
from deploy_prune.run_folder import SPLITS, is_begun
from deploy_prune.sources.addresses import split_address
from deploy_prune.sources.data import find_changed_split, identify_splits, list_broken, read_data
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.values import BrokenImage, Data, SplitRecord

GONE = "gone"
"""The option of data sources that takes the names of images that keep their places."""


def read_run_images(
    address: str, asked: Mapping[str, Any] | None, size: tuple[int, int] | None, folders: Sequence[Path]
) -> Data:
    """Read a run's data set; images that were broken before keep their places in the splits when they are taken away.

    Args:
        address: of the data set.
        asked: the options of its source that the run was made with.
        size: the height and width of the images; None: the data set's own.
        folders: those whose records say what was broken, if they have any: the run's and that of its front.
    """
    records = [folder / SPLITS for folder in folders if (folder / SPLITS).exists()]
    broken = {each.name for record in records for split in _read(record).values() for each in split.broken}
    options = dict(asked or {})
    if broken and GONE in plugins.list_options(DATASETS, split_address(address)[0]):
        options[GONE] = sorted(broken.union(options.get(GONE, ())))
    return read_data(address, size=size, options=options)


def refuse_other_images(folder: Path, data: Data) -> None:
    """Refuse images or splits other than those that the run in a folder began with.

    Raises:
        DataError: they are.
    """
    began_with, now = _read(folder / SPLITS), identify_splits(data)
    if name := find_changed_split(began_with, now):
        had, has = began_with[name].images, now[name].images
        message = f"{data.name} has changed since the run began: {name} had {had:,} images, now {has:,}"
        message += ", of which some are others" * (had == has)
        raise DataError(message, hint="put the images back (broken ones may go), or give another --out")


def record_images(folder: Path, data: Data) -> None:
    """Write down which images each split begins with."""
    splits = identify_splits(data)
    if (folder / SPLITS).exists() and is_begun(folder):  # its first stage was interrupted
        before = _read(folder / SPLITS)
        splits = {name: _add_broken(split, before[name].broken) for name, split in splits.items() if name in before}
    write_record(folder / SPLITS, splits, dict[str, SplitRecord])


def record_broken(folder: Path, data: Data) -> None:
    """Add what was found broken since to the record of a run's images, if it has one."""
    if not (folder / SPLITS).exists():
        return
    recorded, images = _read(folder / SPLITS), {"train": data.train, "val": data.val, "test": data.test}
    splits = {name: _add_broken(split, list_broken(images[name])) for name, split in recorded.items()}
    if splits != recorded:
        write_record(folder / SPLITS, splits, dict[str, SplitRecord])


def _add_broken(split: SplitRecord, broken: Iterable[BrokenImage]) -> SplitRecord:
    """The record with more broken images; what was said of one before stays."""
    known = {each.name for each in split.broken}
    return dataclasses.replace(split, broken=(*split.broken, *(each for each in broken if each.name not in known)))


def count_broken(data: Data) -> int:
    """Count the images of all splits that were found broken so far."""
    return sum(len(list_broken(images)) for images in (data.train, data.val, data.test))


def _read(record: Path) -> dict[str, SplitRecord]:
    return dict(read_record(record, dict[str, SplitRecord]))

"""CIFAR-10 (Krizhevsky 2009): `cifar10:DIR`, or `cifar10:FILE.tar`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy_prune.setting_rules import Seed
from deploy_prune.sources.cifar import Choices, Layout, read_cifar
from deploy_prune.sources.datasets import DataSource
from deploy_prune.values import Data

LAYOUT = Layout(
    name="cifar10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    count=10,
    train_files="data_batch_*.bin",
    test_files="test_batch.bin",
    names_file="batches.meta.txt",
    label_bytes=1,
    pickles=("data_batch_1", "test_batch"),
)


@dataclass(frozen=True)
class Cifar10:
    """Ten classes: the binary layout, `train/CLASS/*.jpg` with `test/CLASS/*.jpg`, or a .tar of those."""

    seed: Seed = 0
    """Draws the validation images out of the training set, where no `val-indices.json` lists them."""
    gone: tuple[str, ...] = ()
    """Names of broken images (of folders or a tar) that keep their places in the splits, there or not."""

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        return read_cifar(LAYOUT, Path(rest), Choices(self.seed, tuple(self.gone)), size=size)


plugin: type[DataSource] = Cifar10

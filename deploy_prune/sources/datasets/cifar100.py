"""CIFAR-100 (Krizhevsky 2009), fine labels: `cifar100:DIR`, or `cifar100:FILE.tar`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy_prune.setting_rules import Seed
from deploy_prune.sources.cifar import Choices, Layout, read_cifar
from deploy_prune.sources.datasets import DataSource
from deploy_prune.values import Data

LAYOUT = Layout(
    name="cifar100",
    classes=(),
    count=100,
    train_files="train.bin",
    test_files="test.bin",
    names_file="fine_label_names.txt",
    label_bytes=2,
    pickles=("train", "test", "meta"),
)


@dataclass(frozen=True)
class Cifar100:
    """A hundred classes: the binary layout, `train/CLASS/*.jpg` with `test/CLASS/*.jpg`, or a .tar of those."""

    seed: Seed = 0
    """Draws the validation images out of the training set, as for `cifar10`."""
    gone: tuple[str, ...] = ()
    """Names of broken images that keep their places in the splits, as for `cifar10`."""

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        return read_cifar(LAYOUT, Path(rest), Choices(self.seed, tuple(self.gone)), size=size)


plugin: type[DataSource] = Cifar100

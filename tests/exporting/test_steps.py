"""A format made of toy steps: what every exporter gets from `write_in_steps`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from deploy_prune.errors import ConfigError, ExportFailed
from deploy_prune.exporting.exporters import PLAIN, Calibration
from deploy_prune.exporting.steps import Asked, Draft, begin, write_in_steps
from deploy_prune.values import AppForm, Layout, Network, Normalisation, Precision


@dataclass(frozen=True)
class Toy:
    """Files that hold the sum of all weights, as text."""

    suffix: ClassVar[str] = ".toy"
    runtime: ClassVar[str] = "toy"
    camera_layout: ClassVar[Layout] = "nhwc"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    layout: Layout = "nchw"
    dynamic_batch: bool = False
    sign: int = 1

    def version(self) -> str:
        return "toy 1"

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = "fp32", calibration: Calibration = None) -> None:  # fmt: skip
        write_in_steps((add_up, serialise), Asked(self, network, form, precision, calibration), path)


def add_up(draft: Draft[Toy]) -> Draft[Toy]:
    total = sum(float(parameter.sum()) for parameter in draft.module.parameters())
    return replace(draft, model=draft.asked.exporter.sign * total)


def serialise(draft: Draft[Toy]) -> Draft[Toy]:
    return replace(draft, content=f"{draft.model:g}".encode())


@pytest.fixture
def network() -> Network:
    module = nn.Conv2d(3, 2, 1, bias=False)
    nn.init.constant_(module.weight, 0.5)
    return Network("tests:ones", module, ((3, 4, 6),), 2)


def test_steps_follow_one_another_and_the_last_ones_content_is_the_file(network: Network, tmp_path: Path) -> None:
    Toy(sign=-1).write(network, tmp_path / "net.toy")
    assert (tmp_path / "net.toy").read_text() == "-3"


def test_a_format_that_is_a_folder_gives_its_files_by_their_paths(network: Network, tmp_path: Path) -> None:
    def fill(draft: Draft[Toy]) -> Draft[Toy]:
        return replace(draft, content={"index": b"1", "data/weights": b"2"})

    write_in_steps([fill], Asked(Toy(), network), tmp_path / "net.toy")
    assert (tmp_path / "net.toy" / "data" / "weights").read_bytes() == b"2"
    assert (tmp_path / "net.toy" / "index").read_bytes() == b"1"


def test_what_a_step_raises_is_told_in_one_line_and_nothing_is_written(network: Network, tmp_path: Path) -> None:
    def refuse(draft: Draft[Toy]) -> Draft[Toy]:
        print("pages of advice")
        raise ValueError("no such operator\nand advice")

    with pytest.raises(ExportFailed) as caught:
        write_in_steps([refuse, serialise], Asked(Toy(), network), tmp_path / "net.toy")
    assert caught.value.message == "toy 1 could not convert tests:ones: ValueError: no such operator"
    assert not (tmp_path / "net.toy").exists()


def test_an_error_of_our_own_keeps_its_kind(network: Network, tmp_path: Path) -> None:
    def refuse(draft: Draft[Toy]) -> Draft[Toy]:
        raise ConfigError("calibration is missing", hint="give some images")

    with pytest.raises(ConfigError, match="calibration is missing"):
        write_in_steps([refuse], Asked(Toy(), network), tmp_path / "net.toy")


def test_the_first_draft_has_a_copy_of_the_network_and_inputs_as_the_app_gives_them(network: Network) -> None:
    form = AppForm(normalisation=Normalisation((0.5,) * 3, (0.5,) * 3), bake=True, input="uint8")
    plain, camera, free = (begin(asked) for asked in (
        Asked(Toy(), network), Asked(Toy(), network, form), Asked(Toy(dynamic_batch=True), network),
    ))  # fmt: skip
    assert plain.module is not network.module
    assert not plain.module.training
    assert [tuple(each.inputs[0].shape) for each in (plain, camera, free)] == [(1, 3, 4, 6), (1, 4, 6, 3), (2, 3, 4, 6)]
    assert camera.inputs[0].dtype == torch.uint8
    assert (plain.asked.layout, camera.asked.layout) == ("nchw", "nhwc")

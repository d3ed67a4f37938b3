"""Files are compared where they run: what computes something else there is not shipped, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from sshd import Board

from deploy_prune import plugins
from deploy_prune.errors import MissingDependency, Unavailable
from deploy_prune.exporting.exporters import EXPORTERS
from deploy_prune.exporting.on_device import check_there
from deploy_prune.exporting.one_format import FormatJob, Written, check, write
from deploy_prune.exporting.parity.reference import Reference, answer, make_questions
from deploy_prune.timing.devices import Job, Worker, device_at
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Network, Shipment

Arrays = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def verified(tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> tuple[Reference, Shipment]:
    """A file that does here what its network does, and what it was asked."""
    images = np.random.default_rng(0).standard_normal((30, *tiny_network.input_shape)).astype(np.float32)
    questions = make_questions(tiny_network, images)
    job = FormatJob("onnx", plugins.build(EXPORTERS, "onnx"), tmp_path_factory.mktemp("there") / "model.onnx")
    reference = answer(questions)
    row = check(reference, Written(job, write(questions, job)))
    assert row.status == "verified"
    return reference, row


def compute(path: Path, arrays: Arrays) -> Arrays:
    """What the file gives here."""
    return plugins.build(RUNTIMES, "onnxruntime").open(path, threads=1).run(*arrays)


def device(row: Shipment, compute: Callable[[Path, Arrays], Arrays]) -> FakeDevice:
    assert row.artifact
    inputs = plugins.build(RUNTIMES, "onnxruntime").open(Path(row.artifact.path), threads=1).inputs
    return FakeDevice(lambda path: 1.0, compute=compute, inputs=inputs)


def test_a_file_that_does_the_same_there_says_how_closely(verified: tuple[Reference, Shipment]) -> None:
    reference, row = verified
    there = check_there(reference, row, device(row, compute))
    assert there == replace(row, there=there.there)
    assert there.there is not None and there.there.passed and there.there.images < 30


def test_a_few_inputs_travel_and_not_all(verified: tuple[Reference, Shipment]) -> None:
    reference, row = verified
    asked: list[int] = []

    def counted(path: Path, arrays: Arrays) -> Arrays:
        asked.append(len(arrays[0]))
        return compute(path, arrays)

    check_there(reference, row, device(row, counted))
    assert sum(asked) <= 16 < sum(len(inputs.arrays[0]) for inputs in reference.questions.inputs)


def test_a_file_that_computes_something_else_there_has_failed(verified: tuple[Reference, Shipment]) -> None:
    reference, row = verified
    wrong = device(row, lambda path, arrays: tuple(output + 0.5 for output in compute(path, arrays)))
    there = check_there(reference, row, wrong)
    assert there.status == "failed" and there.parity == row.parity
    assert there.there is not None and not there.there.passed and there.there.max_error > 1e-3
    assert there.reason.startswith("on fake processor, none, none: the file computes something else")


@dataclass(frozen=True)
class Lacking(FakeDevice):
    """A device on which no worker starts."""

    error: Exception = field(default_factory=lambda: Unavailable("gone"))

    @contextmanager
    def start(self, job: Job) -> Iterator[Worker]:  # type: ignore[override]
        raise self.error
        yield


def test_a_file_that_cannot_be_run_there_stays_what_it_was_with_the_reason(
    verified: tuple[Reference, Shipment],
) -> None:
    reference, row = verified
    lacking = Lacking(lambda path: 1.0, error=MissingDependency("onnxruntime", "onnxruntime", "ssh://board"))
    there = check_there(reference, row, lacking)
    assert there.status == "verified" and there.there is None
    assert there.reason.startswith("not run there: the Python package 'onnxruntime' is not installed on ssh://board")


def test_a_device_out_of_reach_leaves_a_file_exported_and_no_more(verified: tuple[Reference, Shipment]) -> None:
    reference, row = verified
    there = check_there(reference, row, Lacking(lambda path: 1.0))
    assert (there.status, there.reason) == ("exported", "not run there: gone")


def test_what_has_failed_here_is_not_tried_there(verified: tuple[Reference, Shipment]) -> None:
    reference, row = verified
    failed = replace(row, status="failed", reason="here already")
    assert check_there(reference, failed, Lacking(lambda path: 1.0)) is failed


@pytest.mark.heavy
def test_a_board_does_what_this_machine_does(board: Board, verified: tuple[Reference, Shipment]) -> None:
    reference, row = verified
    there = check_there(reference, row, device_at(board.address))
    assert there.status == "verified" and there.there is not None and there.there.passed
    assert row.parity is not None and there.there.max_error <= row.parity.max_error

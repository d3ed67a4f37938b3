"""Small networks, each of one operator, in four formats: verified, or refused with which message.

    python -m benchmarks.operators [--again CASE ...]

Every case is a convolution, the operator, and a head (`benchmarks.operator_cases`), with random weights from a stored
seed, written and run on eight random inputs as `deploy-prune export` does, two cases at a time. The record is written
after every case, so that a killed table keeps what it has; `--again` exports some cases alone, and keeps the record's
rows of the others. About 10 minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.operator_cases import CASES, SIZE, Around
from benchmarks.recording import read, write
from deploy_prune import plugins
from deploy_prune.exporting import one_format
from deploy_prune.exporting.exporters import EXPORTERS
from deploy_prune.exporting.parity.reference import answer, make_questions
from deploy_prune.values import Network, Shipment

FORMATS = ("tflite", "onnx", "coreml", "executorch")
PACKAGES = ("torch", "litert-torch", "ai-edge-litert", "onnx", "onnxruntime", "coremltools", "executorch")
SEED, AT_ONCE = 0, 2


def main() -> int:
    """Export every case and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", nargs="*", choices=list(CASES), metavar="CASE")
    asked = parser.parse_args().again
    before: dict[str, Any] = read("operators") if asked else {"rows": [], "wall_s": 0}
    began = time.monotonic()
    done = {row["case"]: row["formats"] for row in before["rows"]}
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(export_case, name): name for name in asked or CASES}
        for finished in as_completed(running):
            done[running[finished]] = finished.result()
            rows = [{"case": name, "formats": done[name]} for name in CASES if name in done]
            result = {"seed": SEED, "wall_s": before["wall_s"] + round(time.monotonic() - began), "rows": rows}
            print(write("operators", "python -m benchmarks.operators", result, PACKAGES), len(rows), flush=True)
    return 0


def export_case(name: str) -> dict[str, dict[str, Any]]:
    """Format -> what became of a case in it."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    network = Network(f"operators:{name}", Around(CASES[name]()).eval(), ((3, SIZE, SIZE),), 5)
    questions = make_questions(network)
    reference = answer(questions)
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in FORMATS:
            exporter = plugins.build(EXPORTERS, target)
            job = one_format.FormatJob(target, exporter, Path(folder) / f"model{exporter.suffix}")
            row = one_format.write(questions, job)
            told[target] = _tell(
                one_format.check(reference, one_format.Written(job, row)) if row.artifact else row, folder
            )
    return told


def _tell(row: Shipment, folder: str) -> dict[str, Any]:
    """The status, the relative error, and the reason in one line without the folder's random name."""
    reason = ": ".join(line.strip() for line in row.reason.splitlines()).replace(f"{folder}/", "")
    return {"status": row.status, "max_error": row.parity and row.parity.max_error, "reason": reason}


if __name__ == "__main__":
    sys.exit(main())

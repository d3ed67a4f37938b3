"""Writes .aimodel folders (Core AI: iOS 27, macOS 27 and newer) with Apple's coreai-torch.

coreai-torch 0.4.3 was tested by its makers with torch up to 2.13. What we found, and do about it:

- It names the weights in a file by numbers that differ from process to process: they are numbered, so that the same
  network gives the same bytes. For the same reason the date is left out.
- In fp16 a file may be wrong on some of Apple's units without a word (apple/coreai-torch 115, 116): fp32 unless asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import torch

from deploy_prune.exporting.converter import find_version
from deploy_prune.exporting.exporters import PLAIN, Calibration, Exporter
from deploy_prune.exporting.metadata import collect_facts
from deploy_prune.exporting.rewriting.halving import halve
from deploy_prune.exporting.steps import Asked, Draft, Step, fold_norms, rewrite_operators, write_in_steps
from deploy_prune.formats.aimodel import CHECKSUM, METADATA, OWN, PROGRAM, hash_program
from deploy_prune.formats.mlir_bytecode import rename_strings
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.scratch import make_scratch
from deploy_prune.train.outputs import list_tensors
from deploy_prune.values import FP16, FP32, AppForm, Layout, Network, Precision
from deploy_prune.version import __version__

EXTRA = "coreai"
WEIGHT = "resource_"
"""What the names of the weights in a file begin with."""
DATE = "creationDate"


@dataclass(frozen=True)
class CoreAI:
    """One .aimodel at batch 1, the weights inside.

    `metadata.json` holds what is known of preprocessing and labels (see `collect_facts`).
    """

    suffix: ClassVar[str] = ".aimodel"
    runtime: ClassVar[str] = "coreai"
    camera_layout: ClassVar[Layout] = "nhwc"
    precisions: ClassVar[tuple[Precision, ...]] = (FP32, FP16)

    @property
    def layout(self) -> Layout:
        """The layout is that of torch."""
        return "nchw"

    @property
    def dynamic_batch(self) -> bool:
        """Apps run images one at a time; Apple's compilers want fixed shapes."""
        return False

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        core = find_version("coreai-core", extra=EXTRA)
        return f"coreai-torch {find_version('coreai-torch', extra=EXTRA)}, coreai-core {core}"

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = FP32, calibration: Calibration = None) -> None:  # fmt: skip
        """Convert in eval mode and write one folder; see `Exporter.write`."""
        write_in_steps(STEPS, Asked(self, network, form, precision, calibration), path)


def narrow(draft: Draft[CoreAI]) -> Draft[CoreAI]:
    """Compute in fp16 where that is asked for: coreai-torch takes the types of the graph."""
    if draft.asked.precision != FP16:
        return draft
    graph: Any = torch.export.export(draft.module, draft.inputs).module(check_guards=False)
    return replace(draft, module=halve(graph))


def trace(draft: Draft[CoreAI]) -> Draft[CoreAI]:
    """Export the module to torch's graph of operators, in those that coreai-torch converts."""
    import coreai_torch

    program = torch.export.export(draft.module, draft.inputs)
    return replace(draft, model=program.run_decompositions(coreai_torch.get_decomp_table()))


def convert(draft: Draft[CoreAI]) -> Draft[CoreAI]:
    """Convert the graph to a program, with the names of the other formats and nothing of where it was made."""
    import coreai_torch

    form, outputs = draft.asked.form, list_tensors(draft.module(*draft.inputs))
    converter = coreai_torch.TorchConverter(mode=coreai_torch.TorchConverter.Mode.RELEASE)
    converter.add_exported_program(
        draft.model,
        input_names=give_names("input", form.input_names, len(draft.inputs)),
        output_names=give_names("output", form.output_names, len(outputs)),
    )
    return replace(draft, model=converter.to_coreai())


def pack(draft: Draft[CoreAI]) -> Draft[CoreAI]:
    """The files of the folder, as coreai-core writes them but for what differs from one time to the next."""
    with make_scratch() as folder:
        saved = folder / "model.aimodel"
        draft.model.save_asset(saved)
        program, said = (saved / PROGRAM).read_bytes(), json.loads((saved / METADATA).read_text())
    numbers = count()
    program = rename_strings(program, lambda name: f"{WEIGHT}{next(numbers)}" if name.startswith(WEIGHT) else name)
    metadata = _describe(draft.asked, said)
    return replace(draft, content={PROGRAM: program, CHECKSUM: hash_program(program), METADATA: metadata})


def _describe(asked: Asked[CoreAI], said: dict[str, Any]) -> bytes:
    """What coreai-core says of a file but the date, and what is known of preprocessing and labels."""
    said.pop(DATE, None)
    said["description"] = f"{asked.network.address}, written by deploy-prune {__version__}"
    said[OWN] = collect_facts(asked.network, asked.form, asked.layout)
    return (json.dumps(said, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


STEPS: tuple[Step[CoreAI], ...] = (fold_norms, rewrite_operators, narrow, trace, convert, pack)
plugin: type[Exporter] = CoreAI

"""Reads .aimodel folders; needs nothing of Apple's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deploy_prune.analysis.readers import (
    FileOrigin,
    FileReport,
    Reader,
    count_operators,
    find_origin,
    shorten,
    sum_bytes,
)
from deploy_prune.formats.aicode import read_program
from deploy_prune.formats.aimodel import OWN, VERSION, Asset, read_asset
from deploy_prune.values import NETWORK_DIGEST

SYSTEMS = "iOS 27, macOS 27"
"""The first that have Core AI; a file does not say which one it needs."""


@dataclass(frozen=True)
class CoreAI:
    """Core AI's folder with a program in AICode."""

    suffix: ClassVar[str] = ".aimodel"
    runtime: ClassVar[str] = "coreai"

    def read(self, path: Path) -> FileReport:
        """Read a folder.

        Raises:
            InputError, Malformed: missing, foreign, truncated, or changed since it was written.
        """
        asset = read_asset(path)
        program = read_program(asset.program)
        return FileReport(
            format="Core AI",
            version=f"asset {asset.metadata[VERSION]}, program {program.version}",
            needs={"Core AI": SYSTEMS},
            operators=count_operators((name, "Core AI") for name in program.operators),
            xnnpack="does not apply: Core AI runs it on Apple's own CPU, GPU and Neural Engine kernels",
            weights_bytes=sum_bytes(program.weights),
            inputs=program.inputs,
            outputs=program.outputs,
            metadata=_word_metadata(asset),
        )

    def read_origin(self, path: Path) -> FileOrigin:
        """Read the digest in the metadata, and the types of the weights."""
        return find_origin(self.read(path), NETWORK_DIGEST)


def _word_metadata(asset: Asset) -> dict[str, str]:
    """What Apple has a place for, and what deploy-prune or somebody else added."""
    said = {key: value for key, value in asset.metadata.items() if key not in {OWN, VERSION}}
    return {
        key: shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in (said | dict(asset.own)).items()
    }


plugin: type[Reader] = CoreAI

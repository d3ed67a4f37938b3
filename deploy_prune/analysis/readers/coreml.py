"""Reads .mlpackage folders that hold an ML program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from deploy_prune.analysis.readers import (
    FileOrigin,
    FileReport,
    Reader,
    count_operators,
    find_origin,
    shorten,
    sum_bytes,
)
from deploy_prune.values import NETWORK_DIGEST, TensorSpec

if TYPE_CHECKING:
    from deploy_prune.formats.mil.program import Program, TensorType

SYSTEMS: Mapping[int, str] = {
    1: "iOS 11, macOS 10.13", 2: "iOS 11.2, macOS 10.13.2", 3: "iOS 12, macOS 10.14", 4: "iOS 13, macOS 10.15",
    5: "iOS 14, macOS 11", 6: "iOS 15, macOS 12", 7: "iOS 16, macOS 13", 8: "iOS 17, macOS 14", 9: "iOS 18, macOS 15",
    10: "iOS 26, macOS 26",
}  # fmt: skip
"""Version of a specification -> the first systems that read it, after coremltools and Model.proto."""
CONSTANT = "const"


@dataclass(frozen=True)
class CoreML:
    """Core ML's specification with an ML program, through our own reader."""

    suffix: ClassVar[str] = ".mlpackage"
    runtime: ClassVar[str] = "coreml"

    def read(self, path: Path) -> FileReport:
        """Read a package.

        Raises:
            InputError: missing, truncated, or no package of an ML program.
        """
        from deploy_prune.formats.mil import read_about, read_package

        about, program = read_about(path), read_package(path)
        systems = SYSTEMS.get(about.version, f"newer than {SYSTEMS[max(SYSTEMS)]}")
        made = {name: kind for operation in program.operations for name, kind in operation.outputs.items()}
        return FileReport(
            format="Core ML package",
            version=f"specification {about.version}",
            needs={"Core ML": systems},
            operators=count_operators((each.kind, "Core ML") for each in program.operations if each.kind != CONSTANT),
            xnnpack="does not apply: Core ML runs it on Apple's own CPU, GPU and Neural Engine kernels",
            weights_bytes=sum_bytes(_list_weights(program)),
            inputs=tuple(_read_spec(name, kind) for name, kind in program.inputs.items()),
            outputs=tuple(_read_spec(name, made.get(name) or program.inputs.get(name)) for name in program.outputs),
            metadata={key: shorten(text) for key, text in about.metadata.items()},
        )

    def read_origin(self, path: Path) -> FileOrigin:
        """Read the digest in the package's own metadata, and the types of its weights."""
        return find_origin(self.read(path), NETWORK_DIGEST)


def _list_weights(program: Program) -> Iterator[tuple[str, int]]:
    """Arrays that operators were given as values; what stands inside of another operator's arguments counts too."""
    import numpy as np

    for operation in program.operations:
        waiting: list[Any] = list(operation.arguments.values())
        while waiting:
            value = waiting.pop()
            if isinstance(value, tuple):
                waiting += value
            elif isinstance(value, np.ndarray):
                yield value.dtype.name, value.nbytes


def _read_spec(name: str, kind: TensorType | None) -> TensorSpec:
    import numpy as np

    return TensorSpec(name, (), "unknown") if kind is None else TensorSpec(name, kind.shape, np.dtype(kind.dtype).name)


plugin: type[Reader] = CoreML

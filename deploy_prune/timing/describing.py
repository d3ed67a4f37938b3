"""What the machine that this runs on is made of, for a device here and, as lines of JSON, for one elsewhere.

python runner.pyz describe              the machine: {"event": "machine", ...}
python runner.pyz describe 4,5          its conditions now, on these cores: {"event": "conditions", ...}
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from deploy_prune import plugins
from deploy_prune.errors import MissingDependency
from deploy_prune.timing import conditions
from deploy_prune.timing.cores import CoreClass, list_core_classes, list_features
from deploy_prune.timing.devices import DeviceDescription
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Conditions

ARM_MACHINES = frozenset({"aarch64", "arm64"})
"""What systems call a 64-bit ARM processor."""


def main(arguments: list[str]) -> int:
    """Say in one line what this machine is, or how it is now."""
    if arguments:
        cores = tuple(map(int, arguments[0].split(",")))
        print(json.dumps({"event": "conditions", **asdict(conditions.read(cores))}))  # noqa: T201
    else:
        print(json.dumps({"event": "machine", **asdict(describe_here())}))  # noqa: T201
    return 0


def describe_here() -> DeviceDescription:
    """What this machine is made of."""
    versions: dict[str, str] = {}
    for name in plugins.list_names(RUNTIMES):
        with suppress(MissingDependency):
            runtime = plugins.build(RUNTIMES, name)
            versions |= {} if runtime.untimed else {name: runtime.version()}
    allowed = conditions.list_allowed_cores()
    return DeviceDescription(
        processor=conditions.name_processor(),
        architecture=platform.machine(),
        system=platform.system(),
        cores=len(allowed),
        memory_bytes=conditions.read_memory_bytes(),
        runtimes=versions,
        classes=list_core_classes(allowed, platform.machine()),
        features=list_features(),
        libc=" ".join(platform.libc_ver()).strip(),
        python=platform.python_version(),
        release=conditions.name_release(),
    )


def advise_on_runtimes(about: DeviceDescription) -> tuple[str, ...]:
    """What runtimes are known to fail on such a machine, before they do."""
    advice = []
    if about.architecture in ARM_MACHINES and "atomics" not in about.features:
        advice.append(
            "its cores have no `atomics`: ExecuTorch's builds for Android end there with an illegal instruction"
        )
    if not {"litert", "onnxruntime"} & set(about.runtimes):
        advice.append("neither LiteRT nor ONNX Runtime is installed there: no .tflite and no .onnx file can be run")
    return tuple(advice)


def read_description(said: Mapping[str, Any]) -> DeviceDescription:
    """The description that `main` has written elsewhere."""
    fields = {key: value for key, value in said.items() if key != "event"}
    classes = tuple(CoreClass(each["name"], tuple(each["cores"]), each["max_mhz"]) for each in fields["classes"])
    return DeviceDescription(**{**fields, "classes": classes, "features": tuple(fields["features"])})


def read_conditions(said: Mapping[str, Any]) -> Conditions:
    """The conditions that `main` has written elsewhere."""
    fields = {key: value for key, value in said.items() if key != "event"}
    return Conditions(**{**fields, "affinity": tuple(fields["affinity"])})

"""A bundle of three widths of one network: made, checked, and caught with a byte changed.

    python -m benchmarks.bundles

The digits MobileNetV2 of the demo at 0.75, 0.5 and 0.3 of its multiply-adds by obs, not trained again, as TFLite, Core
ML and Core AI where that is installed. The bundle is signed. A byte is changed 100 times, anywhere in any of its files,
and the bundle put right again after each. Then the loaders' own tests: both prepare 200 random images, which must be
training's to the last bit, and read what `bundle` writes; `tools/app_toolchains` fetches their compilers.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.recording import write
from deploy_prune import plugins
from deploy_prune.budget.parse import parse
from deploy_prune.bundling.bundle import bundle
from deploy_prune.bundling.checking import check_bundle
from deploy_prune.bundling.order import BundleOrder
from deploy_prune.errors import DeployPruneError, MissingDependency
from deploy_prune.pipeline.config import check_config
from deploy_prune.pipeline.front import folder_name, front
from deploy_prune.records import count_bytes

TABLE = "bundles"
BUDGETS = ("0.75x", "0.5x", "0.3x")
CHANGES = 100
ROOT = Path(__file__).parents[1]
LOADERS = {"Kotlin": "tests/bundling/test_kotlin.py", "Swift": "tests/bundling/test_swift.py"}
FORMATS = ("tflite", "coreml", "coreai")
TRAINED = {"epochs": 12, "batch_size": 64, "lr": 0.05}
BASE: dict[str, Any] = {
    "model": "mobilenet_v2", "model_options": {"setting": "small", "width": 1.5}, "data": "digits", "method": "obs",
    "pretrain": TRAINED, "finetune": None, "threads": (1,),
}  # fmt: skip


def main() -> int:
    """Make the runs and the bundle, and write down what became of it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        targets = tuple(name for name in FORMATS if name in plugins.list_names("exporters") and _is_there(name))
        front(check_config({**BASE, "targets": targets}), BUDGETS, folder / "front", controls=False)
        runs = tuple(folder / "front" / folder_name(parse(budget)) for budget in BUDGETS)
        key = _write_key(folder / "key.pem")
        groups = (("Qualcomm_SM8750", runs[0]), ("Qualcomm_SM6225", runs[2]))
        began = time.monotonic()
        manifest = bundle(BundleOrder(runs, "digits", groups=groups, signing_key=key), folder / "bundle")
        made = time.monotonic()
        result = check_bundle(folder / "bundle")
        checked = time.monotonic()
        rows = [{"variant": row.variant, "path": row.path, "runtime": row.runtime, "status": row.status,
                 "error": row.error} for row in result.rows]  # fmt: skip
        caught = [_change(folder / "bundle", random.Random(seed)) for seed in range(CHANGES)]
        assert check_bundle(folder / "bundle").passed
        record = {
            "variants": {each.name: each.accuracy.value for each in manifest.variants}, "rows": rows,
            "files": len(manifest.files), "size_bytes": count_bytes(folder / "bundle"), "made_s": made - began,
            "checked_s": checked - made, "changes": CHANGES, "caught": sum(caught),
        }  # fmt: skip
    record["loaders"] = {language: _run_loader(file) for language, file in LOADERS.items()}
    print(write(TABLE, f"python -m benchmarks.{TABLE}", record, ("ai-edge-litert", "coremltools", "cryptography")))
    return 0


def _run_loader(file: str) -> dict[str, Any]:
    """How the tests of one loader ended: how many passed, failed and were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", file, "-q", "-m", "", f"--junitxml={report}"]
        subprocess.run(command, cwd=ROOT, check=False)
        (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    return {**counts, "seconds": float(suite.attrib["time"])}


def _is_there(name: str) -> bool:
    try:
        plugins.build("exporters", name).version()
    except MissingDependency:
        return False
    return True


def _write_key(path: Path) -> Path:
    key, plain = Ed25519PrivateKey.generate(), serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return path


def _change(folder: Path, draw: random.Random) -> bool:
    """Whether a changed byte is refused with the file's name; it is put right again."""
    file = draw.choice(sorted(each for each in folder.rglob("*") if each.is_file() and each.stat().st_size))
    content = file.read_bytes()
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= draw.randrange(1, 256)
    file.write_bytes(changed)
    try:
        check_bundle(folder)
    except DeployPruneError as error:
        return file.name in error.message
    finally:
        file.write_bytes(content)
    return False


if __name__ == "__main__":
    sys.exit(main())

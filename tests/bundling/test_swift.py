"""The Swift that bundles carry: built and tested as a package, its Apple part type-checked against stand-ins."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest
import tiny_bundle
from app_toolchains import NO_SWIFT, run_swift
from bundled import make_run

from deploy_prune.bundling.bundle import bundle as bundle_of
from deploy_prune.bundling.order import BundleOrder

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(bool(NO_SWIFT), reason=NO_SWIFT)]
HERE = Path(__file__).parent
APP = Path(str(resources.files("deploy_prune.bundling"))) / "app/ios"
REFUSED = [
    ({"schema": 2, "variants": "other"},
     "bundle.json is of schema 2, this code reads schema 1: take the loader that lies in the same bundle"),
    ({"fallback": "tenth"}, "bundle.json names the variant 'tenth', and has [\"full\", \"half\", \"quarter\"]"),
    ({"outputs": []}, "bundle.json: full has 1 golden outputs of 0"),
    ({"golden": {"images": 1, "pixels": "../golden", "input": "golden/input.bin"}},
     "bundle.json names '../golden', which is no path inside of the bundle"),
    ({"variants": [{"name": "a"}]}, "bundle.json: variants.[0].accuracy is missing"),
]  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it lies in a bundle, with our own tests and their files beside its own."""
    bundle = tiny_bundle.write_bundle(tmp_path_factory.mktemp("bundle"))
    package = bundle / "ios"
    shutil.copy(HERE / "swift/LoaderTests.swift", package / "Tests/DeployPruneBundleTests")
    cases = package / "cases"
    tiny_bundle.write_cases(cases)
    tiny_bundle.write_choices(HERE / "choices.json", cases / "choices.json")
    manifest = json.loads((bundle / "bundle.json").read_text())
    refusals = [{"bundle": json.dumps({**manifest, **changes}), "refusal": text} for changes, text in REFUSED]
    (cases / "refusals.json").write_text(json.dumps(refusals))
    digests = [hashlib.sha256(b"a" * length).hexdigest() for length in range(200)]
    (cases / "digests.json").write_text(json.dumps(digests))
    bundle_of(BundleOrder((make_run(cases / "wide"),), apps=("ios",), formats=("onnx",)), cases / "made")
    return package


def test_the_package_is_built_and_passes_its_tests_and_ours(package: Path) -> None:
    lines = run_swift(package, "swift", "test", "--disable-sandbox", environment={"CASES": "cases"})
    assert not [line for line in lines if "warning:" in line]
    passed = set(re.findall(r"'\w+\.(\w+)' passed", "\n".join(lines)))
    sources = (APP / "Tests/GoldenPairTests.swift", HERE / "swift/LoaderTests.swift")
    tests = {name for path in sources for name in re.findall(r"func (test\w+)\(", path.read_text())}
    skipped = "testEveryVariantGivesTheGoldenAnswers"
    assert tests - passed == {skipped}, lines
    assert f"{skipped}' skipped" in "\n".join(lines)
    assert "neither Core ML nor Core AI can be imported here" in "\n".join(lines)


def test_what_takes_apples_frameworks_is_type_checked_against_stand_ins(tmp_path: Path) -> None:
    """Signatures as Apple documents them: nothing here says that it runs on a device."""
    for source in (*(HERE / "swift/stubs").glob("*.swift"), *(APP / "Sources").glob("*.swift")):
        shutil.copy(source, tmp_path)
    for module in ("CoreVideo", "CoreML", "CoreAI", "CryptoKit"):
        flags = ["-emit-module", "-parse-as-library", "-module-name", module, "-I", "."]
        run_swift(tmp_path, "swiftc", *flags, f"{module}.swift")
    sources = sorted(path.name for path in (APP / "Sources").glob("*.swift"))
    flags = ["-typecheck", "-parse-as-library", "-warnings-as-errors", "-module-name", "DeployPruneBundle", "-I", "."]
    assert run_swift(tmp_path, "swiftc", *flags, *sources, "Module.swift") == []

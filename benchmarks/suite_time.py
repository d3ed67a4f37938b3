"""How long the fast tests take as a developer runs them, and which of their files take it.

    python -m benchmarks.suite_time

Runs `tools/test` as a whole once (a process per core, the quick profile of laws, no coverage), and before it the
collection alone. The machine should have nothing else to do; the load before the run is in the record.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.recording import write

ROOT = Path(__file__).parents[1]
LIMIT_S = 240.0
SHOWN = 15


def main() -> int:
    """Time the suite, print and record; exits 1 above the limit or where a test fails."""
    load = os.getloadavg()[0]
    collected, _ = run(["--collect-only", "-m", "not slow and not heavy"])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTEST_ADDOPTS"] = f"--junitxml={folder}/tests.xml"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, code = run([])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        tests, files = read_times(Path(folder) / "tests.xml")
    result = {
        "seconds": seconds,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "collection_s": collected,
        "tests": tests,
        "files_s": dict(files.most_common(SHOWN)),
        "load_before": load,
        "limit_s": LIMIT_S,
    }
    print(result, flush=True)
    print(write("suite_time", "python -m benchmarks.suite_time", result, ("pytest", "hypothesis")))
    return int(code != 0 or seconds > LIMIT_S)


def run(arguments: list[str]) -> tuple[float, int]:
    """Run `tools/test` with these arguments: its seconds as a whole, and its exit code."""
    began = time.perf_counter()
    done = subprocess.run([ROOT / "tools" / "test", *arguments], cwd=ROOT, check=False)
    return time.perf_counter() - began, done.returncode


def read_times(report: Path) -> tuple[int, Counter[str]]:
    """How many tests there were, and the seconds of every test file with its fixtures."""
    files: Counter[str] = Counter()
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    for case in cases:
        place = re.sub(r"\.Test\w+$", "", case.attrib["classname"])
        files[place.replace(".", "/") + ".py"] += float(case.attrib["time"])
    return len(cases), files


if __name__ == "__main__":
    sys.exit(main())

"""Writes RESULTS.md and the README's tables from the records, so that no figure is typed by hand.

python -m benchmarks.pages
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.markdown import Row, points, table
from benchmarks.recording import RESULTS, read
from benchmarks.tables import SECTIONS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS_PAGE = ROOT / "benchmarks" / "RESULTS.md"

HEADLINE_ROWS = {
    "dense, trained on": "the dense network",
    "legr in ms": "**deploy-prune: LeGR, milliseconds**",
    "uniform": "uniform widths, milliseconds",
    "magnitude": "magnitude, milliseconds",
    "slimming": "Network Slimming, milliseconds",
    "legr in MACs": "LeGR under MACs that take the same time",
    "torch-pruning group norm local of 16": "Torch-Pruning 1.6.1, group norm, multiples of 16",
}
"""Arm of the record `headline` -> its label in the README, in this order."""
NETWORK = "mobilenet_v2"

EXCERPT = ("Network", "Time")
"""The sections of the printed report that the README shows."""

FORMATS = {
    "tflite": "LiteRT",
    "onnx": "ONNX Runtime",
    "executorch": "ExecuTorch with XNNPACK",
    "coreml": "our evaluator",
    "coreai": "Apple's own runtime",
}
TIMED = {"tflite": "litert", "onnx": "onnxruntime", "executorch": "executorch"}
"""Format -> the name of its runtime in the demo's record."""
ELSEWHERE = {"coreml": "no: needs a Mac or an iPhone", "coreai": "yes, but no iPhone's time"}
"""Format -> what is to be said of times, where the demo takes none."""


def main() -> int:
    """Write both pages."""
    README.write_text(readme(README.read_text()))
    RESULTS_PAGE.write_text(results())
    return 0


def block(mark: str, text: str) -> str:
    """The content of the fenced block behind a mark.

    Raises:
        ValueError: there is none.
    """
    fenced = re.search(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    if fenced is None:
        raise ValueError(f"there is no block '{mark}'")
    return fenced.group(1)


def readme(text: str) -> str:
    """The README's text with today's tables and printed run between its marks."""
    text = text.replace(block("output", text), excerpt(read("readme_run")["printed"]))
    text = _between(text, "headline", headline(read("headline")))
    return _between(text, "support", support(read("formats"), read("demo")))


def _between(text: str, mark: str, content: str) -> str:
    before, rest = text.split(f"<!-- {mark} -->")
    after = rest.split(f"<!-- /{mark} -->")[1]
    return f"{before}<!-- {mark} -->\n\n{content}\n\n<!-- /{mark} -->{after}"


def excerpt(printed: list[str]) -> str:
    """The verdict of a printed report, and the tables of what became of the network and of its time."""
    sections = "\n".join(printed).split("\n## ")
    told = ["\n\n".join(sections[0].split("\n\n")[:2])]
    for title in EXCERPT:
        section = next(each for each in sections if each.startswith(f"{title}\n"))
        told.append("## " + "\n\n".join(section.split("\n\n")[:2]))
    return "\n\n...\n\n".join(told) + "\n"


def headline(record: dict[str, Any]) -> str:
    """Accuracy at the same measured time, ours beside the others."""
    rows: list[Row] = []
    for arm, label in HEADLINE_ROWS.items():
        row = record["tables"][NETWORK][arm]
        if "reason" in row:
            rows.append((label, row["reason"], "", ""))
            continue
        against = points(row["against_first"]) if row["against_first"] else ""
        rows.append((label, f"{row['ratio']:.3f}", f"{row['test']:.2%}", against))
    return table(("MobileNetV2 cut by", "measured time / dense", "test accuracy", "points to ours"), rows)


def support(formats: dict[str, Any], demo: dict[str, Any]) -> str:
    """Formats by runtimes: how many files were verified, and the demo's time where one was taken."""
    times = {row["runtime"]: row for row in demo["times"]}
    rows: list[Row] = []
    for name, runtime in FORMATS.items():
        files = [row["formats"][name] for row in formats["rows"]]
        verified = sum(file["status"] == "verified" for file in files)
        timed = times.get(TIMED.get(name, ""))
        speed = f"yes: the demo is {1 / timed['ratio']:.2f}x as fast" if timed else ELSEWHERE[name]
        rows.append((name, runtime, f"{verified} of {len(files)} files", speed))
    return table(("format", "run by", "verified", "timed here"), rows)


def results() -> str:
    """RESULTS.md: one section per record that exists."""
    sections = [section(read(name)) for name, section in SECTIONS.items() if (RESULTS / f"{name}.json").exists()]
    intro = (
        "# Results\n\n"
        "Each figure comes from a record under `benchmarks/results/`, made by the command named above its table. "
        "`python -m benchmarks.pages` writes this page. A gate is a limit that was set before the measurement; "
        "those that were missed stand at the top of their section. Intervals are 95 %."
    )
    return "\n\n".join([intro, *sections]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""Sections of RESULTS.md about single operators, cuts, opening, damaged inputs and our own tests."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.markdown import Row, below, each, table, titled


def _image_start(record: dict[str, Any]) -> str:
    rows: list[Row] = [(f"{name} start", f"{seconds:.2f} s") for name, seconds in record["seconds"].items()]
    gates = {
        below(f"{name} start", record["limits_s"][name], "s"): seconds < record["limits_s"][name]
        for name, seconds in record["seconds"].items()
    }
    title = f"Opening a folder of {record['images']:,} images"
    return titled(record, title, table(("", "seconds"), rows), gates=gates)


def _suite_time(record: dict[str, Any]) -> str:
    rows: list[Row] = [("whole", f"{record['seconds']:.0f}"), ("of it to collect", f"{record['collection_s']:.0f}")]
    rows += [(name, f"{seconds:.0f}") for name, seconds in record["files_s"].items()]
    note = f"{record['tests']} tests in {record['cpu_s']:.0f} CPU seconds; load before it {record['load_before']:.1f}."
    gates = {below("the fast tests", record["limit_s"], "s"): record["seconds"] <= record["limit_s"]}
    return titled(record, "The fast tests, as a developer runs them", table(("", "seconds"), rows), note, gates)


def _mutations(record: dict[str, Any]) -> str:
    head = ("kind", "inputs", "read", "refused", "wrong", "slowest, CPU s", "most memory, MB")
    rows: list[Row] = []
    for name, row in record["kinds"].items():
        read = row["outcomes"].get("read", 0)
        refused = row["inputs"] - read - row["wrong"]
        rows.append((name, f"{row['inputs']:,}", f"{read:,}", f"{refused:,}", str(row["wrong"]),
                     f"{row['slowest_s']:.2f}", str(row["largest_mb"])))  # fmt: skip
    note = (
        "Read: opened in spite of its damage (an image also: skipped, and another in its place); refused: by an error "
        "that says what is wrong. Wrong: any other error, "
        f"more than {record['limit_s']:g} CPU s or more than {record['limit_mb']:g} MB."
    )
    gates = {f"{name}: none wrong": not row["wrong"] for name, row in record["kinds"].items()}
    return titled(record, "Damaged inputs", table(head, rows), note, gates)


def _operators(record: dict[str, Any]) -> str:
    """A case per row; what was refused is told below the table, format by format."""
    formats = list(record["rows"][0]["formats"])
    rows: list[Row] = []
    refusals = []
    for row in record["rows"]:
        cells = row["formats"]
        rows.append((row["case"], *(_judge(cells[name]) for name in formats)))
        refusals += [f"- {row['case']}, {name}: `{told['reason'].replace('`', '')}`" for name in formats
                     if (told := cells[name])["status"] != "verified"]  # fmt: skip
    files = [row["formats"][name] for row in record["rows"] for name in formats]
    good = sum(told["status"] == "verified" for told in files)
    note = (
        f"{good} of {len(files)} files verified on eight random inputs; a number is the largest relative error. "
        "Exported: our evaluator does not know the operator. What is not verified stands below with its message."
    )
    body = "\n".join([table(("operator", *formats), rows), "", *refusals])
    return titled(record, "Networks of one operator in four formats", body, note)


def _judge(told: dict[str, Any]) -> str:
    return f"{told['max_error']:.0e}" if told["status"] == "verified" else str(told["status"])


def _kills(record: dict[str, Any]) -> str:
    rows: list[Row] = [(name, str(row["kills"]), str(len(row["faults"]))) for name, row in record["rows"].items()]
    faults = [fault for row in record["rows"].values() for fault in row["faults"]]
    note = (
        f"{record['kills']} of {record['asked']} kills were made, each at a random moment of a tiny run, and the same "
        "command given again until it was done. A fault is a result that differs from that of a run that nobody "
        "killed, a process or a temporary file that was left, or a signal that did not end a command quietly."
    )
    gates = {
        "no kill has a fault": not faults,
        f"{record['asked']} kills made": record["kills"] >= record["asked"],
    }
    return titled(record, "Kills at random moments", table(("run, kill", "kills", "faults"), rows), note, gates)


def _silent_cuts(record: dict[str, Any]) -> str:
    parts, chains = record["parts"], record["chains"]
    note = (
        f"{parts['parts']} parts by themselves at an even and an odd width, and random chains of up to three of them; "
        f"asked for were {record['asked']:,} chains. With a lock: something in it cannot be cut, or not in every way. "
        f"The largest error of a cut, relative to the largest output, was {chains['worst_error']:.0e}."
    )
    rows: list[Row] = [
        ("parts", str(parts["tried"]), str(parts["locked"]), str(len(parts["wrong"]))),
        ("chains", f"{chains['networks']:,}", f"{chains['with_a_lock']:,}", str(len(chains["wrong"]))),
    ]
    gates = {
        "none computes something else": not parts["wrong"] and not chains["wrong"],
        "every lock of a part names a line of it": not parts["without_its_line"],
        f"{record['asked']:,} chains tried": chains["networks"] >= record["asked"],
    }
    head = ("networks that look at their channels", "tried", "with a lock", "wrong")
    return titled(record, "Cuts that compute something else in silence", table(head, rows), note, gates)


def _zoo(record: dict[str, Any]) -> str:
    head = ("network", "locked", "halves: MACs", "error", "uneven: MACs", "error", "groups the plan locked")
    rows: list[Row] = []
    for address, row in record["networks"].items():
        halved, uneven = row["halves"], row["uneven"]
        rows.append((
            address, f"{row['locked_share']:.0%}", f"{halved['macs_kept']:.2f}x", f"{halved['error']:.0e}",
            f"{uneven['macs_kept']:.2f}x", f"{uneven['error']:.0e}",
            str(halved["locked_by_the_plan"] + uneven["locked_by_the_plan"]),
        ))  # fmt: skip
    otherwise = [f"- {address}: {row['fvcore']}" for address, row in record["networks"].items() if row["fvcore"]]
    note = (
        "Every second unit of every free group, and a random number of each. Error: the largest difference to the "
        "dense network with the removed channels at zero, relative to the largest output, in float64. Where fvcore "
        "counts other MACs than the trace does, it stands below the table."
    )
    gates = {f"none of {len(record['networks'])} computes something else": not record["wrong"]}
    body = "\n".join([table(head, rows), "", *otherwise])
    return titled(record, f"{len(record['networks'])} networks of torchvision and timm, cut", body, note, gates)


def _page(record: dict[str, Any]) -> str:
    limits = record["limits"]
    rows: list[Row] = [
        ("size of the file", f"{record['size_bytes'] / 1e6:.2f} MB"),
        ("until something is seen, median", f"{record['first_paint_ms']:.0f} ms"),
        ("the same, each time", each(record["paints_ms"], "{:.0f}")),
    ]
    gates = {
        f"at most {limits['size_bytes'] / 1e6:.0f} MB": record["size_bytes"] <= limits["size_bytes"],
        f"seen within {limits['first_paint_ms']:.0f} ms": record["first_paint_ms"] <= limits["first_paint_ms"],
    }
    note = f"Chromium {record['browser']}, headless; the page of a front of three budgets, from a file."
    return titled(record, "The page of a front", table(("", ""), rows), note, gates)


def _gates(record: dict[str, Any]) -> str:
    files, limits = record["files"], record["limits"]
    rows: list[Row] = [
        (f"{row['kind']} ({files[row['kind']]['ratio']:.3f}x)", row["around"], str(row["held"]), str(row["passed"]),
         str(row["failed"]), str(row["inconclusive"]), f"{row['median_s']:.0f}")
        for row in record["rows"]
    ]  # fmt: skip
    gates = {}
    for around in ("idle", "busy"):
        of = {row["kind"]: row for row in record["rows"] if row["around"] == around}
        if same := of.get("itself"):
            gates[f"{around}: false failures"] = same["failed"] <= limits["false failures"] * same["held"]
            unsure = limits[f"inconclusive, {around}"]
            gates[f"{around}: inconclusive"] = same["inconclusive"] <= unsure * same["held"]
        if slow := of.get("10 %"):
            gates[f"{around}: 10 % found"] = slow["failed"] >= limits["found of 10 %"] * slow["held"]
    head = ("candidate (measured ratio)", "machine", "gates", "passed", "failed", "inconclusive", "median s")
    note = "MobileNetV2-224 at three quarters of its widths, LiteRT, 1 thread; limit 1.05, at most 120 s."
    return titled(record, "The latency gate", table(head, rows), note, gates)


def _gates_simulated(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        ("itself, counted anew", str(record["same"]), str(record["false"])),
        (f"slower, the least {record['least']:.4f}x", str(record["slower"]), str(record["found"])),
    ]
    gates = {
        f"never red for nothing, {record['same']} times": record["false"] == 0,
        "one percent and more is always found": record["found"] == record["slower"] > 0,
    }
    note = f"Limit {record['limit']} of the cycles; {median(record['seconds']):.0f} s each (median)."
    return titled(record, "The gate on sim://cortex-a76", table(("candidate", "gates", "red"), rows), note, gates)


def _bundles(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (row["variant"], f"{record['variants'][row['variant']]:.1%}", row["path"].rsplit("/", 1)[-1], row["runtime"],
         row["status"], "" if row["error"] is None else f"{row['error']:.0e}")
        for row in record["rows"]
    ]  # fmt: skip
    gates = {
        "every golden pair is answered alike": {row["status"] for row in record["rows"]} == {"same"},
        f"a changed byte is refused by name, {record['changes']} of {record['changes']}":
            record["caught"] == record["changes"],
    }  # fmt: skip
    note = (
        f"{record['files']} files, {record['size_bytes'] / 1e6:.1f} MB, signed; made in {record['made_s']:.0f} s, "
        f"checked in {record['checked_s']:.0f} s."
    )
    for language, tests in record.get("loaders", {}).items():
        whole = not tests["failures"] and not tests["errors"] and tests["skipped"] < tests["tests"]
        gates[f"{language}: preprocessing of 200 images to the last bit, and {tests['tests']} tests of the loader"] = (
            whole
        )
    head = ("variant", "top-1 on test", "file", "run by", "golden answers", "error")
    return titled(record, "A bundle of three widths", table(head, rows), note, gates)


def _ssh_overhead(record: dict[str, Any]) -> str:
    rows: list[Row] = list(record["figures"].items())
    rows.append(("each sitting", each([1e3 * value for value in record["found_s"]], "{:.1f} ms")))
    gates = {f"at most {record['limit_s'] * 1e3:.0f} ms a file": median(record["found_s"]) <= record["limit_s"]}
    note = f"{record['files']} files of MobileNetV2 a sitting, until they are open there, less the same here."
    return titled(record, "What a file costs on its way over ssh", table(("", ""), rows), note, gates)


def _official_tool(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, f"{median(row['ours_ms']):.2f}", f"{median(row['theirs_ms']):.2f}",
         f"{row['ratio']:.3f} [{row['interval'][0]:.3f}, {row['interval'][1]:.3f}]")
        for name, row in record["networks"].items()
    ]  # fmt: skip
    within = record["within"]
    gates = {
        f"{name}: within {within:.0%}": abs(row["ratio"] - 1) <= within for name, row in record["networks"].items()
    }
    note = "Medians of 100 inferences on LiteRT, one thread, in turns, a process each; ratio: the median over rounds."
    head = ("network", "ours, ms", "litert-benchmark, ms", "ratio [95 %]")
    return titled(record, "Our milliseconds beside those of LiteRT's own tool", table(head, rows), note, gates)


def _judging_speed(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, *(f"{median(row['ms'][way]):.2f}" for way in ("usual", "ours")),
         f"{row['ratio']:.3f} [{row['interval'][0]:.3f}, {row['interval'][1]:.3f}]")
        for name, row in record["networks"].items()
    ]  # fmt: skip
    gates = {f"{name}: not slower": row["interval"][0] <= 1 for name, row in record["networks"].items()}
    head = ("network", "ms an image in torch's usual way", "as images are judged", "ratio [95 %]")
    note = "In turns, two cores; the usual way: channels first, norms as modules, 256 images at once (64 of 224 x 224)."
    return titled(record, "Images judged channels last, norms folded", table(head, rows), note, gates)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "operators": _operators,
    "image_start": _image_start,
    "suite_time": _suite_time,
    "zoo": _zoo,
    "silent_cuts": _silent_cuts,
    "mutations": _mutations,
    "kills": _kills,
    "bundles": _bundles,
    "page": _page,
    "gates": _gates,
    "gates_simulated": _gates_simulated,
    "ssh_overhead": _ssh_overhead,
    "official_tool": _official_tool,
    "judging_speed": _judging_speed,
}

"""Sections of RESULTS.md about simulated cores: what networks cost there, and what plans made with them are worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import Row, below, points, table, titled


def _simulated(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, row in record["costs"].items():
        ratio, published = record["ratios"][name], record["published"].get(name)
        again = abs(row["cycles"][1] / row["cycles"][0] - 1)
        rows.append((name, f"{row['cycles'][0] / 1e6:.2f}", f"{row['instructions'][0] / 1e6:.2f}",
                     f"{row['vector_multiply_adds'] / row['macs']:.3f}", f"{again:.0e}" if again else "the same",
                     f"{ratio:.3f}", f"{published:.2f}" if published else "1"))  # fmt: skip
    head = ("network", "M cycles", "M instructions", "multiply-adds in vectors / MACs", "second run",
            "cycles / MobileNetV2's", "time / MobileNetV2's on phones")  # fmt: skip
    limits = record["limits"]
    gates = {
        f"{name}: cycles within {within:.0%} of phones": abs(record["ratios"][name] / record["published"][name] - 1)
        <= within
        for name, within in record["within"].items()
    }
    for name, row in record["costs"].items():
        gates[f"{name}: two runs agree to {limits['again']:.0e}"] = (
            abs(row["cycles"][1] / row["cycles"][0] - 1) <= limits["again"]
        )
    for name, seconds in record["cpu_seconds"].items():
        gates[below(f"{name} counted", limits["cpu_seconds"], "s of a core")] = seconds <= limits["cpu_seconds"]
    for name, row in record["outputs"].items():
        limit = limits["relative_difference"]
        gates[f"{name}: outputs within {limit:.0e} of x86's"] = row["relative_difference"] <= limit
    largest = max((row["relative_difference"] for row in record["outputs"].values()), default=0.0)
    note = (
        f"{record['core']}. Outputs of {len(record['outputs'])} files differ from x86's by at most {largest:.1e} of "
        "the largest output. Emulated, counted and priced in "
        + ", ".join(f"{seconds:.0f} s of a core ({name})" for name, seconds in record["cpu_seconds"].items())
        + "."
    )
    return titled(record, "Simulated cycles, without hardware", table(head, rows), note, gates=gates)


def _simulated_plans(record: dict[str, Any]) -> str:
    limits, rows, gates = record["limits"], [], {}
    for name, row in record["equal"].items():
        counted = {arm: each["counted"] for arm, each in row["arms"].items() if "counted" in each}
        ours = counted.pop("stair-aware", None)
        rows.append((name, "-" if ours is None else f"{ours:.3f}",
                     *(f"{counted[arm]:.3f}" if arm in counted else "-" for arm in ARMS)))  # fmt: skip
        if ours is None:
            continue
        gates[f"{name}: at most {limits['behind']:.0%} behind any"] = all(
            ours <= (1 + limits["behind"]) * each for each in counted.values()
        )
        if "free" in counted:
            gates[f"{name}: {limits['free']}x over free widths"] = counted["free"] >= limits["free"] * ours
    for name, row in record["tables"].items():
        gates[below(f"table of {name}", limits["table_s"], "s of a core")] = row["cpu_seconds"] <= limits["table_s"]
    note = f"{record['core']}, LiteRT, 1 thread; cycles / the dense network's."
    if record["unseen"]:
        error, by_macs = record["unseen"]["error"], record["unseen"]["macs_error"]["mean"]
        gates[f"plans never seen: mean error at most {limits['mean']:.0%}"] = error["mean"] <= limits["mean"]
        note += (
            f" {error['samples']} plans that the table of MobileNetV2 never saw are predicted to {error['mean']:.1%} "
            f"on average (95 % within {error['p95']:.1%}; by MACs alone {by_macs:.1%})."
        )
    made = [f"{name} {row['cpu_seconds']:.0f} s, {row['samples']} plans" for name, row in record["tables"].items()]
    note += f" Tables, in seconds of a core: {'; '.join(made)}. Stairs are in the record and in docs/images."
    head = ("network, at its share of multiply-adds", "by cycles", *ARMS)
    return titled(record, "Plans in simulated cycles", table(head, rows), note, gates)


ARMS = ("free", "multiples of 8", "multiples of 16")
"""What plans of equal multiply-adds are made with, besides cycles."""


def _recut(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, row["by"], f"{row['ratio']:.3f}", f"{row['refitted']:.2%}", f"{row['test']:.2%}",
         points(row["to_search_for_it"]), points(row["to_dense"]))
        for name, of in record["tables"].items() for row in of["rows"]
    ]  # fmt: skip
    head = ("network", "plan by", "cycles / dense", "test, refitted", "then trained", "points to the search for it",
            "points to dense")  # fmt: skip
    note = (
        f"Half of the simulated Cortex-A72 cycles (counted), LiteRT, 32 x 32, one seed, {record['legr']['candidates']} "
        "candidates a search; trained on 10,000 images x 3."
    )
    return titled(record, "A search in x86 ms, re-cut for a simulated core (CIFAR-10, JPEG)", table(head, rows), note)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "recut": _recut,
    "simulated": _simulated,
    "simulated_plans": _simulated_plans,
}

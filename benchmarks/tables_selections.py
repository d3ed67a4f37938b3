"""The tables of selection in RESULTS.md by discrimination: DCP, DKP, and DCP at the widths of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import Row, below, each, missed, points, table, titled


def _dcp(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (arm, each(row["channels_kept"], "{:.0%}"), each(row["theoretical_macs_kept"], "{:.2f}"),
         each(row["cut"], "{:.1%}"), each(row["recalibrated"], "{:.1%}"), each(row["seconds"], "{:.0f}"))
        for arm, row in record["rows"].items()
    ]  # fmt: skip
    head = ("chosen by", "channels kept", "theoretical MACs", "test, right after the cut", "norms anew", "seconds")
    text = table(head, rows)
    gates = {
        f"seed {seed}, {name}": kept
        for seed, gates_of_seed in record["gates"].items()
        for name, kept in gates_of_seed.items()
    }
    if final := record["final"]:
        gates |= final["gates"]
        rows = [
            (arm, rate, each(tests, "{:.2%}"), f"{final['means'][arm][rate]:.2%}",
             "; ".join(map(points, final["against_lot"].get(arm, {}).get(rate, []))))
            for arm, by_rate in final["test"].items() for rate, tests in by_rate.items()
        ]  # fmt: skip
        head = ("trained 10,000 images x 3", "learning rate", "test per seed", "mean", "points to the lot")
        text += "\n\n" + table(head, rows)
    title = "DCP and DKP: which channels, which kernels (CIFAR-10, JPEG)"
    return titled(record, title, text, "ResNet-20, inner mode; a figure per seed.", gates)


def _composition(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, arm, each(row["ratio"], "{:.3f}"), each(row["cut"], "{:.1%}"), each(row["recalibrated"], "{:.1%}"),
         *(f"{each(of['test'], '{:.1%}')}{against and f' ({against})'}" for of in row["trained"].values()
           for against in ["; ".join(map(points, of["against_alone"]))]))
        for name, arms in record["tables"].items() for arm, row in arms.items()
    ]  # fmt: skip
    head = ("network", "arm", "measured time / dense", "test, right after the cut", "norms anew",
            "trained at 0.01 (points to LeGR alone)", "trained at 0.05")  # fmt: skip
    note = "LiteRT, one thread, 0.5x of the dense network's time; 10,000 images x 3 epochs; a figure per seed."
    return titled(record, "LeGR's widths, DCP's channels (CIFAR-10, JPEG)", table(head, rows), note)


def _kernels(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, f"{row['sparsity']:.0%}", row["by"], f"{row['theoretical_macs_kept']:.3f}", f"{row['macs_kept']:.3f}",
         *(f"{row[what]:.1%}" for what in ("cut", "recalibrated", "refitted")), f"{row['test']:.2%}",
         points(row["to_dense"]), f"{row['seconds']:.0f}")
        for name, of in record["tables"].items() for row in of["rows"]
    ]  # fmt: skip
    head = ("network", "pointwise sparsity", "by", "theoretical MACs", "MACs of the dense kernels",
            "test, right after the cut", "norms anew", "refitted", "then trained", "points to dense",
            "seconds")  # fmt: skip
    dense = "; ".join(f"{name} {of['dense']:.2%}" for name, of in record["tables"].items())
    note = f"32 x 32, one seed; dense: {dense}; masks save nothing unless a runtime skips them."
    return titled(record, "Kernels or channels at equal theoretical MACs (CIFAR-10, JPEG)", table(head, rows), note)


def _sparse(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    gates = {}
    for name, cells in record["rows"].items():
        dense = cells["dense"]
        for key, row in cells.items():
            fewer, smaller, cycles = (dense[what] / row[what] for what in ("instructions", "bytes", "cycles"))
            share, _, filters = key.partition(", ")
            rows.append((name, share, {"1": "singly", "4": "by 4 outputs"}.get(filters, ""),
                         f"{row['instructions'] / 1e6:.1f}", f"{fewer:.2f}x", f"{cycles:.2f}x",
                         f"{row['multiply_adds'] / 1e6:.0f}", f"{row['bytes'] / 1e6:.2f}",
                         f"{smaller:.2f}x"))  # fmt: skip
            if key != "dense":
                gates[f"{name}, {key}: fewer instructions"] = row["instructions"] < dense["instructions"]
                gates[f"{name}, {key}: outputs within {record['limit']:.0e} of the dense file's"] = (
                    row["relative_difference"] <= record["limit"]
                )
    head = ("network", "masked 1x1 kernels", "masked", "M instructions", "dense / sparse", "in cycles",
            "M multiply-adds in vectors", "MB", "dense / sparse")  # fmt: skip
    broken, (low, high) = record["broken"], record["phone"]
    note = (
        f"{record['core']}, LiteRT, 224 x 224, random weights. A phone was {low} to {high} times as fast with "
        f"sparse networks (arXiv 1911.09723). Stored so in spite of XNNPACK's rules ({broken['what']}), a file's "
        f"outputs are off by {broken['relative_difference']:.2f} of the largest on the simulated core and by "
        f"{broken['here']:g} on x86-64, which computes densely: such files are refused."
    )
    return titled(record, "Sparse 1x1 convolutions in LiteRT", table(head, rows), note, gates)


def _speedups(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, row in record["rows"].items():
        low, high = row["ratio_interval"]
        rows.append((name, f"{row['macs_kept']:.3f}", f"{row['ratio']:.3f} [{low:.3f}, {high:.3f}]",
                     f"{1 / row['ratio']:.2f}x", missed(row["gates"])))  # fmt: skip
    head = ("network", "MACs kept", "measured time / dense", "as fast", "gates")
    note = f"LiteRT, one thread. At most half the MACs must be {record['least']} x as many times as fast at least."
    gates = {f"{name}: {gate}": kept for name, row in record["rows"].items() for gate, kept in row["gates"].items()}
    return titled(record, "What pruned files of ResNet-20 save (CIFAR-10)", table(head, rows), note, gates)


def _selection_speed(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        ("seconds, heads included", f"{record['seconds']:.0f} (limit {record['limit_s']})"),
        ("groups, channels that stay", f"{record['groups']}, {record['channels']}"),
        ("test, right after the cut", f"{record['cut']:.1%}"),
        ("norms anew", f"{record['recalibrated']:.1%}"),
    ]
    note = f"Half of every inner group, {record['images']} images, {record['threads']} threads."
    gates = {below("the selection", record["limit_s"], "s"): record["seconds"] <= record["limit_s"]}
    return titled(record, "DCP's selection on ResNet-56 (CIFAR-10, JPEG)", table(("", ""), rows), note, gates)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "dcp": _dcp,
    "composition": _composition,
    "kernels": _kernels,
    "sparse": _sparse,
    "speedups": _speedups,
    "selection_speed": _selection_speed,
}

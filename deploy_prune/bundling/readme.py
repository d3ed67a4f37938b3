"""The README of a bundle: what is in it, and the lines to paste."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import PurePosixPath
from string import Template

from deploy_prune.bundling.manifest import Latency, Manifest, Variant, VariantFile
from deploy_prune.bundling.soc_groups import OTHER


def write_readme(manifest: Manifest, apps: Sequence[str]) -> str:
    """Write the text for these kinds of apps."""
    _, height, width = manifest.input.shape
    count = len(manifest.variants)
    words = {
        "name": manifest.name,
        "version": manifest.deploy_prune,
        "variants": "one variant" if count == 1 else f"{count} variants",
        "table": "\n".join(_write_table(manifest)),
        "input": f"{manifest.input.colors}, {height} x {width}, bytes from 0 to 255",
        "size": f"{height} x {width}",
        "groups": "\n".join(_list_groups(manifest)),
    }
    parts = ["README.md"]
    packed = any(file.format == "tflite" for variant in manifest.variants for file in variant.files)
    if "android" in apps:
        parts += ["android.md", *(["android_pack.md"] if packed else [])]
    if "ios" in apps:
        parts.append("ios.md")
    return "".join(Template(_read(part)).substitute(words) for part in parts)


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("app", name).read_text(encoding="utf-8")


def _write_table(manifest: Manifest) -> list[str]:
    metric = manifest.variants[0].accuracy.metric
    rows = [_write_row(variant, file) for variant in manifest.variants for file in variant.files]
    return [f"| variant | {metric} on test (95 %) | file | MB | needs | measured |", "|---|---|---|---|---|---|", *rows]


def _write_row(variant: Variant, file: VariantFile) -> str:
    low, high = variant.accuracy.interval
    needs = "; ".join(f"{system} {version}" for system, version in file.needs.items()) or "not told by the file"
    taken = "; ".join(map(_write_latency, file.latency)) or "not timed"
    name = PurePosixPath(file.path).name
    size = f"{file.size_bytes / 1e6:.2f}"
    accuracy = f"{variant.accuracy.value:.1%} [{low:.1%}, {high:.1%}]"
    return f"| {variant.name} | {accuracy} | {name} | {size} | {needs} | {taken} |"


def _write_latency(taken: Latency) -> str:
    low, high = taken.interval
    threads = "1 thread" if taken.threads == 1 else f"{taken.threads} threads"
    return f"{taken.value:.3g} [{low:.3g}, {high:.3g}] {taken.unit} on {taken.device}, {threads}"


def _list_groups(manifest: Manifest) -> list[str]:
    groups = [f"| {group.name} | {group.variant} |" for group in manifest.groups]
    return [*groups, f"| {OTHER} | {manifest.fallback} |"]

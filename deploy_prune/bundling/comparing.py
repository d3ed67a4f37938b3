"""What is different between two bundles, for whoever has to decide whether the app may ship the new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy_prune.bundling.manifest import Manifest, Variant, VariantFile


@dataclass(frozen=True)
class Difference:
    """Something that one bundle has otherwise than the other."""

    where: str
    """The bundle's name or a variant's, with the format where it is a file's."""
    what: str
    old: str
    """Empty: the old one has no such thing."""
    new: str


def compare_bundles(old: Manifest, new: Manifest) -> tuple[Difference, ...]:
    """List what is different: what apps pass in and get back, then variants and their files."""
    variants = {each.name: each for each in old.variants}
    rows = [*_compare_contract(old, new)]
    for variant in new.variants:
        rows += _compare_variants(variant.name, variants.pop(variant.name, None), variant)
    for name, variant in variants.items():
        rows += _compare_variants(name, variant, None)
    return tuple(rows)


def _compare_contract(old: Manifest, new: Manifest) -> Iterator[Difference]:
    parts = {
        "name": (old.name, new.name),
        "input": (_show_input(old), _show_input(new)),
        "outputs": (_show_outputs(old), _show_outputs(new)),
        "labels": (", ".join(old.labels), ", ".join(new.labels)),
        "fallback": (old.fallback, new.fallback),
        "groups": (_show_groups(old), _show_groups(new)),
        "signed by": (old.signed_by, new.signed_by),
    }
    for what, (was, now) in parts.items():
        if was != now:
            yield Difference(new.name, what, was, now)


def _show_input(manifest: Manifest) -> str:
    taken = manifest.input
    shape, constants = "x".join(map(str, taken.shape)), zip(taken.scale, taken.shift, strict=True)
    return f"{taken.name} {shape} {taken.colors}, " + ", ".join(
        f"{scale:.6g} {shift:.6g}" for scale, shift in constants
    )


def _show_outputs(manifest: Manifest) -> str:
    return ", ".join(f"{each.name} {'x'.join(map(str, each.shape))}" for each in manifest.outputs)


def _show_groups(manifest: Manifest) -> str:
    return ", ".join(f"{group.name}: {group.variant}" for group in manifest.groups)


def _compare_variants(name: str, old: Variant | None, new: Variant | None) -> Iterator[Difference]:
    whole = [_show_variant(each) if each else "" for each in (old, new)]
    if whole[0] != whole[1]:
        yield Difference(name, "accuracy", *whole)
    files = {each.path: each for each in (old.files if old else ())}
    for file in new.files if new else ():
        yield from _compare_files(name, files.pop(file.path, None), file)
    for file in files.values():
        yield from _compare_files(name, file, None)


def _show_variant(variant: Variant) -> str:
    accuracy = variant.accuracy
    low, high = accuracy.interval
    return f"{accuracy.metric} {accuracy.value:.2%} [{low:.2%}, {high:.2%}] on {accuracy.images}"


def _compare_files(name: str, old: VariantFile | None, new: VariantFile | None) -> Iterator[Difference]:
    one = new or old
    assert one
    shown = [_show_file(each) if each else {} for each in (old, new)]
    for what in dict.fromkeys((*shown[0], *shown[1])):
        was, now = (each.get(what, "") for each in shown)
        if was != now:
            yield Difference(f"{name}, {one.format}", what, was, now)


def _show_file(file: VariantFile) -> dict[str, str]:
    """What an app team asks about a file."""
    delegated = file.delegated
    taken = f"{delegated.taken} of {delegated.operators} in {delegated.partitions}" if delegated else "not known"
    latency = {
        f"{each.unit} on {each.device}, {each.threads} threads": f"{each.value:.4g} [{each.interval[0]:.4g}, "
        f"{each.interval[1]:.4g}]"
        for each in file.latency
    }
    return {
        "sha256": file.sha256,
        "bytes": str(file.size_bytes),
        "takes": f"{file.takes}, {file.layout}" + (", preprocessing inside" if file.baked else ""),
        "gives": file.gives,
        "needs": ", ".join(f"{system} {version}" for system, version in file.needs.items()),
        "delegated": taken,
        **latency,
    }

"""A profile as one JSON file, so that a network that was measured on one machine can be planned for on another."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from deploy_prune.budget.latency.model import fit_model
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.latency.table import WHOLE_NETWORK, Profile, Sample, read_features
from deploy_prune.errors import RecordError
from deploy_prune.records import read_record, write_record

LARGEST_RATIO = 100.0
"""No cut network takes so many times as long as the dense one."""
LARGEST_SIZE = 1 << 31
"""No number of a file, such as its threads or a side of its input, reaches this one."""


def write_table(profile: Profile, path: Path) -> None:
    """Write a profile with all its samples (their raw times stay where they were taken)."""
    samples = tuple(replace(sample, comparison=None) for sample in profile.samples)
    write_record(path, replace(profile, samples=samples))


def read_table(path: Path, store: Store, *, device: str | None = None) -> Profile:
    """Take a profile into the store, in place of the one that is there.

    Args:
        path: what `write_table` wrote.
        store: where it goes.
        device: what to call the device it was measured on; None: as the file does.

    Raises:
        RecordError: not such a file, or figures that cannot be.
        Inconclusive: its samples contradict one another.
    """
    profile = read_record(path, Profile)
    if device is not None:
        profile = replace(profile, target=replace(profile.target, device=device))
    if reason := _impossible(profile):
        raise RecordError(f"{path} is no latency table to rely on: {reason}", hint="have it measured again")
    read_features(profile.drawing)
    fit_model(profile)
    with store.together():
        store.forget(profile)
        store.begin(profile)
        store.add(profile, *profile.samples)
    return profile


def _impossible(profile: Profile) -> str:
    """What in a profile cannot be; empty: nothing."""
    if not (math.isfinite(profile.reference) and profile.reference > 0):
        return f"its reference takes {profile.reference} {profile.unit}"
    if not profile.samples:
        return "it has no samples"
    if not 0 <= profile.target.threads < LARGEST_SIZE:
        return f"it was measured with {profile.target.threads} threads"
    reasons = (_impossible_sample(profile, sample) for sample in profile.samples)
    return next((reason for reason in reasons if reason), "")


def _impossible_sample(profile: Profile, sample: Sample) -> str:
    groups = profile.drawing.groups
    numbers = (sample.ratio, *sample.interval)
    if not all(math.isfinite(number) and 0 < number < LARGEST_RATIO for number in numbers):
        return f"a sample takes {sample.ratio} times as long as the reference"
    if not sample.interval[0] <= sample.ratio <= sample.interval[1]:
        return f"a sample's ratio {sample.ratio} is outside its own interval"
    fits = len(sample.widths) == len(groups) and all(
        1 <= width <= group.width for width, group in zip(sample.widths, groups, strict=True)
    )
    if not fits:
        return "a sample has widths that the network does not have"
    if not WHOLE_NETWORK <= sample.operator < len(profile.drawing.operators):
        return "a sample is of an operator that the network does not have"
    sizes = all(0 < size < LARGEST_SIZE for size in sample.input_shape)
    return "" if sizes else "a sample has an input of impossible size"

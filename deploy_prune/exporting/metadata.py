"""What a file says about itself: the preprocessing that is left to the app, the labels, and the kind of the scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from deploy_prune.exporting.identity import identify
from deploy_prune.values import COLORS, NETWORK_DIGEST, WHITE, AppForm, Layout, Network

Fact = str | float | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Preprocessing:
    """What the app does to pixels from 0 to 255, per channel: (pixel * scale - mean) / std."""

    scale: float
    """What every pixel is multiplied by: 1/255, or 1 where the file takes pixels as they are."""
    mean: tuple[float, ...]
    """What is subtracted then, a number per channel."""
    std: tuple[float, ...]
    """What is divided by in the end, a number per channel."""

    @property
    def untouched(self) -> bool:
        """True where that leaves the pixels as they are."""
        return self.scale == 1 and not any(self.mean) and set(self.std) == {1.0}

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """The mean in pixels from 0 to 255, a number per channel: (pixel - pixel_mean) / pixel_std is the same."""
        return tuple(mean / self.scale for mean in self.mean)

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """The std in pixels from 0 to 255, a number per channel."""
        return tuple(std / self.scale for std in self.std)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number that the file can be given."""
        channels = list(zip(self.mean, self.std, strict=True))
        ends = [(pixel * self.scale - mean) / std for mean, std in channels for pixel in (0, WHITE)]
        return min(ends), max(ends)


def find_preprocessing(network: Network, form: AppForm) -> Preprocessing | None:
    """What is left to the app; None where the network takes no image or its normalisation is not known."""
    known = form.normalisation
    if known is None or len(network.input_shape) != 3:
        return None
    if form.bake:
        channels = network.input_shape[0]
        return Preprocessing(1.0, (0.0,) * channels, (1.0,) * channels)
    return Preprocessing(1 / WHITE, tuple(map(float, known.mean)), tuple(map(float, known.std)))


def collect_facts(network: Network, form: AppForm, layout: Layout) -> dict[str, Fact]:
    """Everything that is known, by a name that is the same in all formats; `layout` is that of the file's image input.

    `scale`, `mean` and `std` are those of `Preprocessing`, so that a program may apply them to any of our files.
    """
    known: dict[str, Fact] = {NETWORK_DIGEST: identify(network).digest}
    if len(network.input_shape) == 3:
        known |= {"input_layout": layout.upper(), "input_type": "uint8" if form.input == "uint8" else "float32"}
    if left := find_preprocessing(network, form):
        if color := COLORS.get(network.input_shape[0]):
            known["color_order"] = color
        known |= {"input_range": left.range, "scale": left.scale, "mean": left.mean, "std": left.std}
        known["preprocessing"] = describe_input(network, form, layout)
    if form.labels or form.softmax:
        known["output"] = "probabilities" if form.softmax else "scores"
    if form.labels:
        known["labels"] = form.labels
    return known


def write_as_text(known: Mapping[str, Fact]) -> dict[str, str]:
    """The facts where a format has room for strings alone: numbers and lists as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in known.items()
    }


def describe_input(network: Network, form: AppForm, layout: Layout) -> str:
    """One sentence on the image input; empty where nothing is known."""
    left = find_preprocessing(network, form)
    if left is None:
        return ""
    color = COLORS.get(network.input_shape[0], f"{network.input_shape[0]}-channel")
    pixels = f"{color} pixels from 0 to 255, {layout.upper()}"
    if left.untouched:
        return f"{pixels}, as they are: the network's mean and std are part of the file."
    numbers = f"scale {left.scale:.9g}, mean {_join_numbers(left.mean)}, std {_join_numbers(left.std)}"
    return f"{pixels}, as (pixel * scale - mean) / std with {numbers}."


def describe_output(form: AppForm) -> str:
    """One sentence on the scores; empty where nothing is known."""
    if not (form.labels or form.softmax):
        return ""
    kind = "Probabilities" if form.softmax else "Scores (logits)"
    order = f"{len(form.labels)} classes, in the order of the labels" if form.labels else "the classes"
    return f"{kind} of {order}."


def join_labels(form: AppForm) -> str:
    """The labels as the lines of a text file; a line break inside a label is a space."""
    return "\n".join(" ".join(label.split()) for label in form.labels)


def _join_numbers(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)

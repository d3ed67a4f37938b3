"""Flags that verbs share, each spelled once, and the forms in which their texts are read."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy_prune.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout, nothing else there.")]
Model = Annotated[str, typer.Argument(metavar="MODEL|RUN", help="torchvision:NAME, file.py:factory, or a run folder.")]
DataAddress = Annotated[
    str | None, typer.Option("--data", metavar="NAME[:PATH]", help="digits, imagefolder:DIR, images:DIR, ...")
]
Weights = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="A .safetensors or .pth file.")]
Classes = Annotated[int | None, typer.Option("--classes", min=1, help="Classes of the network's output.")]
InputShape = Annotated[
    str | None, typer.Option("--input-shape", metavar="C,H,W", help="One image's shape, such as 3,224,224.")
]
Targets = Annotated[str | None, typer.Option("--target", metavar="NAMES", help="Formats to ship, such as tflite,onnx.")]
Threads = Annotated[str | None, typer.Option("--threads", metavar="N,...", help="Thread counts to time, such as 1,4.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of fine-tuning.")]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="Of the model, such as stem=cifar; repeatable."),
]
Runtime = Annotated[str, typer.Option("--runtime", help="What runs the exported file: litert, onnxruntime.")]
Device = Annotated[
    str, typer.Option("--device", help="local, ssh://pi@board, ..., or the device of an imported latency table.")
]
DeviceAddress = Annotated[
    str, typer.Option("--device", metavar="ADDRESS", help="Where the files run: local, ssh://pi@board, ...")
]
DeviceAddresses = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="ADDRESS", help="Where the files run: local, ssh://pi@board, ...; repeatable."),
]
StoreFile = Annotated[
    Path | None,
    typer.Option("--store", metavar="FILE", help="Of latency tables; usually in the user's cache folder."),
]
Workers = Annotated[
    str | None,
    typer.Option("--workers", metavar="N|ray", help="Who computes candidates: so many processes, ray, ray:4."),
]
Accelerator = Annotated[
    str | None,
    typer.Option("--accelerator", metavar="NAME", help="Where networks are trained and judged: auto, cpu, cuda, mps."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that `prune` wrote.")]


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """`"tflite,onnx"` -> `("tflite", "onnx")`; None stays None."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise ConfigError(f"'{text}' has an empty name in it", hint="write names with commas between: tflite,onnx")
    return names


def parse_integers(flag: str, text: str | None, example: str = "1,4") -> tuple[int, ...] | None:
    """`"1,4"` -> `(1, 4)`, all of them at least 1; None stays None. The hint writes `example` after the flag.

    Raises:
        ConfigError: something else than positive integers; names the flag.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ConfigError(f"{flag} '{text}' is no list of positive integers", hint=f"write {flag} {example}")
    return tuple(int(part) for part in parts)


def parse_numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    """`"0.485,0.456,0.406"` -> three floats; None stays None.

    Raises:
        ConfigError: something else than numbers; names the flag.
    """
    if text is None:
        return None
    try:
        parsed = tuple(float(part) for part in text.split(","))
    except ValueError:
        parsed = ()
    if not parsed or not all(map(math.isfinite, parsed)):
        raise ConfigError(f"{flag} '{text}' is no list of numbers", hint=f"write {flag} 0.485,0.456,0.406")
    return parsed


def parse_image_shape(text: str | None) -> tuple[int, int, int] | None:
    """`"3,224,224"` -> `(3, 224, 224)`; None stays None.

    Raises:
        ConfigError: not three positive integers.
    """
    if text is None:
        return None
    meant = re.findall(r"\d+", text)  # as in 3x100x100
    example = ",".join(meant) if len(meant) == 3 and all(map(int, meant)) else "3,224,224"
    sizes = parse_integers("--input-shape", text, example)
    assert sizes
    if len(sizes) != 3:
        hint = f"write channels, height and width: --input-shape {example}"
        raise ConfigError(f"--input-shape '{text}' has {len(sizes)} numbers, an image has 3", hint=hint)
    channels, height, width = sizes
    return channels, height, width


def parse_model_options(texts: list[str] | None) -> dict[str, Any]:
    """`["width=0.5", "stem=cifar"]` -> `{"width": 0.5, "stem": "cifar"}`.

    Raises:
        ConfigError: no `=`, nothing on one of its sides, or a key twice.
    """
    return parse_key_values("--option", texts)


def parse_key_values(flag: str, texts: list[str] | None) -> dict[str, Any]:
    """`["width=0.5", "stem=cifar"]` -> `{"width": 0.5, "stem": "cifar"}`: TOML's scalars, bare words are texts.

    Raises:
        ConfigError: no `=`, nothing on one of its sides, or a key twice; names the flag.
    """
    pairs: dict[str, Any] = {}
    for text in texts or ():
        key, _, value = (part.strip() for part in text.partition("="))
        if not key or not value:
            raise ConfigError(f"{flag} '{text}' has no {'value' if key else 'key'}", hint=f"write {flag} stem=cifar")
        if key in pairs:
            raise ConfigError(f"{flag} '{key}' is given twice", hint="give it once")
        pairs[key] = _parse_scalar(value)
    return pairs


def _parse_scalar(text: str) -> Any:
    from deploy_prune.pipeline.config import read_toml

    try:
        values = read_toml(f"value = {text}", "--option")
    except ConfigError:
        return text
    return values["value"] if len(values) == 1 else text

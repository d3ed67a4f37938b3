"""The precisions that files are stored in: an open set of names, and the one table of what each of them means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy_prune.errors import ConfigError

Precision = str
"""A name in `PRECISIONS`; of a file that somebody else wrote also what its format calls the type of its weights."""

FP32, FP16 = "fp32", "fp16"
UNKNOWN = "unknown"
"""The precision of a file that does not tell the type of its weights."""


@dataclass(frozen=True)
class PrecisionMeaning:
    """What a precision stands for, whatever the format."""

    dtype: str
    """What numpy calls the type in which weights are stored, such as "float16"."""
    weight_bytes: int
    """The bytes of one stored weight."""
    tolerance: float
    """How far a file may be from its network: max |file - network| / max |network| over every output."""


PRECISIONS: Mapping[Precision, PrecisionMeaning] = {
    FP32: PrecisionMeaning("float32", weight_bytes=4, tolerance=1e-4),
    # 11 bits are kept: 5e-4 per rounding, which add up over some 50 layers
    FP16: PrecisionMeaning("float16", weight_bytes=2, tolerance=2e-2),
}


def look_up_precision(precision: Precision) -> PrecisionMeaning:
    """What a precision means.

    Raises:
        ConfigError: nothing here writes or verifies files in it; names those that are known.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision '{precision}' is not known here", hint=f"known: {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def name_precision(weights_bytes: Mapping[str, int]) -> Precision:
    """The precision of a file, from the type that most bytes of its weights are stored in.

    Args:
        weights_bytes: numpy's name of a type -> the bytes of all weights that are stored in it.

    Returns:
        A name in `PRECISIONS`, the type's own name where none stands for it ("int8"), or `UNKNOWN` without weights.
    """
    if not weights_bytes:
        return UNKNOWN
    dtype = max(weights_bytes, key=lambda name: weights_bytes[name])
    return next((name for name, meaning in PRECISIONS.items() if meaning.dtype == dtype), dtype)

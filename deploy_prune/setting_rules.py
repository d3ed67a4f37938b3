"""What the settings of a training or of a method may be: the first that is not is refused, with what was given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Annotated

from annotated_types import Interval

from deploy_prune.errors import ConfigError

MOST_SEED = 2**32 - 1
"""Seeds of epochs and parts are made of these by multiplication, and torch takes 64 bits."""
Seed = Annotated[int, Interval(ge=0, le=MOST_SEED)]
"""A whole number that random draws begin with."""
MOST_NUMBERS = 1 << 27
"""What one image may hold: the whole of 6,600 x 6,600 pixels in three colours."""

SettingRule = tuple[str, str, bool]
"""The field's name, what it may be ("0 or more"), and whether it is."""


def check_settings(owner: str, settings: object, rules: Iterable[SettingRule]) -> None:
    """Refuse settings of which one breaks its rule.

    Args:
        owner: what the message begins with, such as "method 'dcp'".
        settings: the dataclass whose fields the rules name.
        rules: in the order in which they are told; the first that is broken is.

    Raises:
        ConfigError: names the setting, what it may be, and what it is.
    """
    for name, allowed, good in rules:
        if not good:
            message = f"{owner}: {name} must be {allowed}, got {vars(settings)[name]!r}"
            raise ConfigError(message, hint=f"give {name} another value, or leave it out for the usual one")


def check_image_shape(shape: Sequence[int]) -> None:
    """Refuse sizes that no image can have, before memory is asked for.

    Args:
        shape: the channels, the height and the width.

    Raises:
        ConfigError: says which, and how many numbers that would be.
    """
    written = "x".join(map(str, shape))
    if min(shape) < 1:
        raise ConfigError(f"an image of {written} cannot be", hint="give channels, height and width of 1 or more")
    if prod(shape) > MOST_NUMBERS:
        message = f"an image of {written} has {prod(shape):,} numbers, at most {MOST_NUMBERS:,} can be"
        raise ConfigError(message, hint="give the shape in which the network takes one image, such as 3,224,224")

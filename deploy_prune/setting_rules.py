"""What the settings of a training or of a method may be: the first that is not is refused, with what was given."""

from __future__ import annotations

from collections.abc import Iterable

from deploy_prune.errors import ConfigError

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

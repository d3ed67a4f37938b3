"""Settings that break a rule are refused by name, with what was given."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from deploy_prune.errors import ConfigError
from deploy_prune.setting_rules import check_settings


@dataclass(frozen=True)
class Baking:
    """Settings of something."""

    hours: float = 1.5
    loaves: int = 0


def test_the_first_setting_that_breaks_its_rule_is_named_with_its_value() -> None:
    settings = Baking()
    rules = (("hours", "above 0", settings.hours > 0), ("loaves", "1 or more", settings.loaves >= 1))
    with pytest.raises(ConfigError) as caught:
        check_settings("the bakery", settings, rules)
    assert caught.value.message == "the bakery: loaves must be 1 or more, got 0"
    assert "loaves" in caught.value.hint


def test_settings_that_keep_all_rules_pass() -> None:
    check_settings("the bakery", Baking(loaves=2), [("loaves", "1 or more", True)])

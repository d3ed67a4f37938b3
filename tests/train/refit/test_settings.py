"""Settings that no refit can be done with are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from deploy_prune.errors import ConfigError
from deploy_prune.train.refit.settings import RefitSettings


@pytest.mark.parametrize(
    "wrong",
    [{"ridges": ()}, {"ridges": (0.1, 0.0)}, {"images": 1}, {"positions": 0}, {"held_out": 1.0}, {"held_out": 0.0},
     {"batch_size": 0}, {"seed": -1}],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"refit: {next(iter(wrong))} must be"):
        RefitSettings(**wrong)

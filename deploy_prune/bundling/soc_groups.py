"""Groups of Android devices by their system-on-chip, as AI packs name and select them.

The layout is that of Google's own writer (`ai_edge_litert.aot.ai_pack`), which knows only the chips that it compiles
for; ours takes any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from deploy_prune.errors import ConfigError

NAME = re.compile(r"([A-Za-z0-9]+)_([A-Za-z0-9_-]+)")
REPORTED = {"Qualcomm": ("Qualcomm", "QTI")}
"""A manufacturer -> all that its devices say of themselves, where that is not just its name."""
SPACED = {"Google"}
"""Manufacturers whose models have spaces in their names."""
CONFIGURATION = """<config:device-targeting-config
    xmlns:config="http://schemas.android.com/apk/config">
{groups}
</config:device-targeting-config>"""
OTHER = "other"
"""The group of all devices that no other group selects."""


def check_group(name: str) -> str:
    """Refuse what is no name of a group: the manufacturer, `_`, and the model of a system-on-chip.

    Raises:
        ConfigError: it is not.
    """
    if not NAME.fullmatch(name):
        hint = "such as Qualcomm_SM8750, Google_Tensor_G3 or Mediatek_MT6989: manufacturer, _, model"
        raise ConfigError(f"'{name}' is no name of a system-on-chip", hint=hint)
    return name


def write_targeting(groups: Sequence[str]) -> str:
    """The text of `device_targeting_configuration.xml` for these groups."""
    return CONFIGURATION.format(groups="\n".join(map(_write_group, groups)))


def _write_group(name: str) -> str:
    manufacturer, model = name.split("_", 1)
    model = model.replace("_", " ") if manufacturer in SPACED else model
    selectors = "\n".join(
        f"        <config:device-selector>\n            <config:system-on-chip manufacturer={quoteattr(each)} "
        f"model={quoteattr(model)}/>\n        </config:device-selector>"
        for each in REPORTED.get(manufacturer, (manufacturer,))
    )
    return f"    <config:device-group name={quoteattr(name)}>\n{selectors}\n    </config:device-group>"

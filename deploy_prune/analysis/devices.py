"""What devices are made of, how they are now, and what they lack: asked of each, several at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy_prune.errors import ConfigError, DeployPruneError
from deploy_prune.timing.devices import DeviceDescription, device_at
from deploy_prune.values import Conditions

AT_ONCE = 16
"""How many devices are asked at the same time."""


@dataclass(frozen=True)
class Examination:
    """A device that was asked what it is."""

    address: str
    """How the user named it."""
    description: DeviceDescription | None = None
    """What it is made of; None: it could not be reached."""
    conditions: Conditions | None = None
    """How it is now; None: it could not be reached."""
    advice: tuple[str, ...] = ()
    """What is missing there or known not to work, and how to get it."""
    reason: str = ""
    """Why it could not be reached; empty: it was."""


def examine_all(addresses: Sequence[str]) -> tuple[Examination, ...]:
    """Ask every device, in the order of the addresses; one that cannot be reached stops no other.

    Raises:
        ConfigError: one of them is no address.
    """
    for address in addresses:
        device_at(address)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return tuple(pool.map(_try_to_examine, addresses))


def examine(address: str) -> Examination:
    """Ask one device.

    Raises:
        ConfigError: it is no address; Unavailable: it cannot be reached.
    """
    device = device_at(address)
    description = device.describe()
    return Examination(address, description, device.conditions(), device.advise())


def _try_to_examine(address: str) -> Examination:
    try:
        return examine(address)
    except ConfigError:
        raise
    except DeployPruneError as error:
        return Examination(address, reason="; ".join(line.strip() for line in str(error).splitlines()))

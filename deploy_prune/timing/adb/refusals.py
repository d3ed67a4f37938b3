"""What adb says when it does not get through, or no longer, and what to do about it."""

from __future__ import annotations

import re

from deploy_prune.errors import ConnectionLost, Unavailable

NO_EXIT_CODE = 255
"""The exit code of `adb shell` where the device is gone before the command has ended."""
FAULT = re.compile(
    r"^(?:adb(?:\.exe)?: |error: (?:device|no devices|no emulators|closed|protocol|more than one|insufficient|"
    r"connection|could not|cannot)|cannot connect to daemon|\* failed)",
    re.MULTILINE,
)
"""How the lines begin by which adb speaks for itself, and not for a command at the other end."""
REFUSALS = tuple(
    (re.compile(said, re.IGNORECASE), message, hint)
    for said, message, hint in (
        ("no devices/emulators found|no emulators found",
         "no device is attached to adb",
         "connect one by USB with USB debugging on (Settings, Developer options), or `adb connect HOST:PORT`; "
         "`adb devices` must list it"),
        ("unauthorized|authorizing",
         "{device} has not allowed this machine to debug it",
         "unlock it and confirm the dialog that it shows; then the same again"),
        ("insufficient permissions|no permissions|access denied",
         "this user may not open {device}",
         "Debian: apt install android-sdk-platform-tools-common, and join the group plugdev; then plug it in again"),
        ("more than one device",
         "several devices are attached to adb",
         "name one: --device adb://SERIAL (`adb devices` lists them)"),
        ("offline",
         "{device} is attached, but does not answer",
         "plug it in again, or restart it; `adb reconnect` may do"),
        ("recovery|sideload|bootloader",
         "{device} has not started Android",
         "restart it"),
        ("device .*not found|failed to connect|no route|connection refused",
         "{device} is not attached to adb",
         "`adb devices` lists what is; for one in the network: `adb connect HOST:PORT`"),
        ("cannot connect to daemon|failed to start daemon|daemon not running|server's? version|cannot bind",
         "the server of adb does not start",
         "`adb kill-server`, then `adb devices`; is another program at its port (ANDROID_ADB_SERVER_PORT)?"),
    )
)  # fmt: skip
"""What its words are known by, what happened and what to do next; the first that fits counts."""
GONE = re.compile(
    "device .*not found|offline|closed|protocol fault|connection reset|no devices|failed to connect", re.I
)
"""How adb says that a device which was there is gone."""


def explain_refusal(device: str, said: str, *, reached: bool = False) -> Unavailable:
    """What happened, by what adb has said at last; `reached`: the device has answered before."""
    if reached and (not said.strip() or GONE.search(said)):
        return ConnectionLost(f"the connection to {device} was lost", hint="is it still on, and plugged in?")
    for pattern, message, hint in REFUSALS:
        if pattern.search(said):
            return Unavailable(message.format(device=device), hint=hint)
    last = (said.strip().splitlines() or ["it said nothing"])[-1]
    return Unavailable(f"adb does not reach {device}: {last}", hint="`adb devices` must list it as `device`")


def is_fault(code: int, said: str) -> bool:
    """Whether it is adb that failed, and not what it has started: it has exit codes in common with everybody."""
    return code == NO_EXIT_CODE or (code != 0 and FAULT.search(said) is not None)

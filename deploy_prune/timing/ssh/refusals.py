"""What ssh says when it does not get through, or no longer, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy_prune.errors import ConnectionLost, Unavailable

SSH_FAILED = 255
"""The exit code by which ssh says that it is the connection, and not the program at its other end."""


@dataclass(frozen=True)
class _Refusal:
    """One of the ways in which a connection is not made."""

    said: re.Pattern[str]
    """What ssh's words are known by."""
    message: str
    """What happened; `{host}` is the address."""
    hint: str
    """What to do next."""


REFUSALS = tuple(
    _Refusal(re.compile(said, re.IGNORECASE), message, hint)
    for said, message, hint in (
        ("remote host identification has changed",
         "{host} has another host key than before",
         "if it was set up anew, remove the old key (`ssh-keygen -R HOST`), connect once by hand and compare; "
         "if not, somebody else answers in its place"),
        ("host key verification failed|no .* host key is known",
         "the host key of {host} is not known",
         "connect once by hand (`ssh HOST`), compare the fingerprint that it shows, and confirm it"),
        ("permission denied|too many authentication failures",
         "{host} lets nobody in with the keys that are at hand",
         "keys and the agent alone are used, never a password: `ssh-copy-id HOST`, or `ssh-add` for a key with a "
         "passphrase; `ssh -o BatchMode=yes HOST true` must work"),
        ("could not resolve|name or service not known|nodename nor servname",
         "the name of {host} leads nowhere",
         "check the spelling; a board in the same network is often NAME.local, or give its number (ssh://pi@192.168.1.7)"),
        ("connection refused",
         "{host} is there, but no ssh server answers",
         "is it still starting? Else install one there (Debian: apt install openssh-server), or name its port "
         "(ssh://HOST:2222)"),
        ("connection timed out|operation timed out|no route to host|network is unreachable|host is down|"
         "connection timeout|timed out during banner",
         "{host} does not answer",
         "is it switched on, and in the same network? `ping HOST` says so"),
        ("bad configuration option|no such file or directory|bad owner or permissions|terminating, .* bad config",
         "ssh cannot read its configuration",
         "`ssh -G HOST` shows the line"),
        ("unable to negotiate|no matching",
         "{host} and the ssh client here have no method in common",
         "one of them is old: update it, or allow the method in ~/.ssh/config"),
    )
)  # fmt: skip
"""The first that fits counts."""

LOST = re.compile(
    r"connection .*(reset|closed|aborted)|closed by remote host|broken pipe|not responding|mux_client|"
    r"client_loop|kex_exchange|connection to .* lost|read from master failed|packet_write|control socket",
    re.IGNORECASE,
)
"""How ssh says that a connection which was there is gone, or was cut while it was made."""


def explain_refusal(host: str, said: str) -> Unavailable:
    """What happened, by what ssh has said at last."""
    for refusal in REFUSALS:
        if refusal.said.search(said):
            return Unavailable(refusal.message.format(host=host), hint=refusal.hint)
    if not said.strip() or LOST.search(said):
        return ConnectionLost(f"the connection to {host} was lost", hint="is it still on, and in the same network?")
    last = said.strip().splitlines()[-1]
    return Unavailable(f"ssh does not reach {host}: {last}", hint="`ssh -v HOST true` says more")

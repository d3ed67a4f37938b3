"""`--setup`: pushes what runs files to a device of adb, into the one folder that is ours there."""

from __future__ import annotations

from deploy_prune.errors import StorageError, Unavailable
from deploy_prune.timing.adb.bundle import Bundle
from deploy_prune.timing.adb.connection import FOLDER
from deploy_prune.timing.remote.host import Host
from deploy_prune.timing.remote.keep_runner import GARBLED, REFUSED

LACKING = 90
HAVE = f'[ -x "{FOLDER}/$0/python" ] || exit {LACKING}'
UNPACK = f"""\
d={FOLDER}; n="$d/new-$$"; mkdir -p "$n" || exit {REFUSED}
trap 'rm -rf "$n"' EXIT
cat > "$n/bundle.tar" || exit {REFUSED}
[ "$(sha256sum < "$n/bundle.tar" | cut -c 1-64)" = "$1" ] || exit {GARBLED}
tar -xf "$n/bundle.tar" -C "$n" && rm "$n/bundle.tar" || exit {REFUSED}
[ -e "$d/$0" ] || mv "$n" "$d/$0" || exit {REFUSED}
for o in "$d"/bundle-*; do [ "$o" = "$d/$0" ] || rm -rf "$o"; done
find "$d" -maxdepth 1 -name 'new-*' -mtime +1 -exec rm -rf {{}} +
"""
"""Puts the archive on stdin in its place, whole or not at all, and removes that of before and what is half done."""
PUSH_S = 900.0
ROOM = "300 MB are needed below /data/local/tmp"


def push_bundle(host: Host, bundle: Bundle) -> None:
    """Have a bundle on a device; one that is there is not pushed again.

    Raises:
        Unavailable: the device cannot be reached, or what arrives is not what was sent; StorageError: it has no room.
    """
    name = f"bundle-{bundle.sha256}"
    if host.ask_script(HAVE, (name,)).returncode == 0:
        return
    done = host.run_script(UNPACK, (name, bundle.sha256), bundle.path.read_bytes(), PUSH_S)
    host.forget()
    said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
    last = said[-1] if said else "it said nothing"
    if done.returncode == REFUSED:
        raise StorageError(f"{host.address} cannot keep what runs files: {last}", hint=ROOM)
    if done.returncode == GARBLED:
        raise Unavailable(f"what runs files arrived garbled on {host.address}", hint="another cable? Try again")
    if done.returncode:
        message = f"what runs files cannot be unpacked on {host.address} (exit {done.returncode}): {last}"
        raise Unavailable(message, hint="has its shell `tar`, `cut`, `find` and `sha256sum` (Android 8 or newer)?")

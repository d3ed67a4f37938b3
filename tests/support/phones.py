"""A phone that the real adb is attached to: an arm64 root folder with Android's own shell, under an emulator."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.errors import MissingDependency
from deploy_prune.scratch import hold_new_folder
from deploy_prune.timing.adb.bundle import find_bundle, usual_folder
from deploy_prune.timing.adb.client import find_adb
from deploy_prune.timing.adb.connection import FOLDER
from deploy_prune.timing.arm64.system import unpack_debian

ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deploy-prune" / "phone-root"
"""Toybox and mksh for arm64, as Android has them: kept in the cache of whoever runs the tests."""
PACKAGES = ("toybox", "mksh")
TOOLS = (
    "cat", "chmod", "cut", "echo", "find", "grep", "kill", "ls", "mkdir", "mv", "printf", "rm", "sed", "seq",
    "sha256sum", "sleep", "tail", "tar", "taskset", "touch", "true", "uname", "wc",
)  # fmt: skip
"""What toybox is called by: the tools that our scripts use, and those of tests."""
BUNDLE = usual_folder()
"""Where what runs files on phones is kept on this machine; tests have a cache folder of their own."""
EMULATOR = shutil.which("qemu-aarch64-static") or ""
ISOLATED = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
"""What makes a phone of its own of the processes that it starts: nothing of this machine is changed."""
BANNER = (
    "device::ro.product.name=made_up;ro.product.model=Made_Up;ro.product.device=made_up;features=shell_v2,cmd,stat_v2"
)
CPUINFO = """\
processor\t: {number}
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
PROPERTIES = {
    "ro.product.manufacturer": "Nobody", "ro.product.model": "Made Up", "ro.product.cpu.abi": "arm64-v8a",
    "ro.soc.manufacturer": "Nobody", "ro.soc.model": "N1", "ro.build.version.release": "14",
}  # fmt: skip
DUMPS = Path(__file__).parents[1] / "timing" / "devices" / "dumpsys"


def find_what_is_missing() -> str:
    """Why no phone can be made up here; empty: it can."""
    if not EMULATOR or shutil.which("unshare") is None:
        return "no emulator (Debian: qemu-user-static)"
    try:
        find_adb()
    except MissingDependency as error:
        return str(error)
    mount = (*ISOLATED, "mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc")
    done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
    return done.stderr and f"this kernel has no binfmt_misc for namespaces (Linux 6.7 or newer): {done.stderr.strip()}"


def keep_bundle() -> None:
    """Have the cache folder of the tests lead to the bundle of this machine, which is made where there is none."""
    find_bundle(BUNDLE)
    if not usual_folder().exists():
        usual_folder().parent.mkdir(parents=True, exist_ok=True)
        usual_folder().symlink_to(BUNDLE)


def keep_root() -> None:
    """Unpack the phone's root folder in the cache, where it is not there. Raises Unavailable: it cannot be had."""
    if ROOT.exists():
        return
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    with hold_new_folder(ROOT.parent, "phone-root-new-") as fresh:
        unpack_debian(PACKAGES, fresh / "apt", fresh / "root")
        programs = fresh / "root" / "system" / "bin"
        programs.mkdir(parents=True)
        for name, package in (("toybox", "toybox"), ("sh", "mksh")):
            copies = (path for path in (fresh / "root").rglob(package) if path.is_file() and path.parent.name == "bin")
            shutil.copy(next(copies), programs / name)
        for name in TOOLS:
            (programs / name).symlink_to("toybox")
        with suppress(OSError):  # another process of the tests was faster
            (fresh / "root").rename(ROOT)


MISSING = find_what_is_missing()


@dataclass
class MadeUpPhone:
    """A device that `adb://127.0.0.1:PORT` leads to."""

    root: Path
    port: int
    server_port: int
    process: subprocess.Popen[str] | None = None

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"adb://{self.serial}?patience_s=30"

    @property
    def own(self) -> Path:
        """The one folder that deploy-prune may write to there."""
        return self.root / FOLDER.lstrip("/")

    def prepare(self) -> None:
        """Make the root folder, and what a phone tells about itself."""
        shutil.copytree(ROOT, self.root, symlinks=True)
        for name in ("data/local/tmp", "dev", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "dev" / "null").touch()
        self.write("proc/cpuinfo", "".join(CPUINFO.format(number=number) for number in range(os.cpu_count() or 1)))
        self.write("proc/meminfo", "MemTotal:        7654321 kB\nMemFree: 1 kB\n")
        self.write("proc/loadavg", "0.25 0.2 0.1 1/900 4711\n")
        for name in ("possible", "present", "online"):
            self.write(f"sys/devices/system/cpu/{name}", f"0-{(os.cpu_count() or 1) - 1}\n")
        for number in range(os.cpu_count() or 1):
            for name, text in (
                ("cpuinfo_max_freq", "2400000"),
                ("scaling_cur_freq", "2000000"),
                ("scaling_governor", "schedutil"),
            ):
                self.write(f"sys/devices/system/cpu/cpu{number}/cpufreq/{name}", f"{text}\n")
        lines = "\n".join(f"[{key}]: [{value}]" for key, value in PROPERTIES.items())
        self.write_program("getprop", f"cat <<'END'\n{lines}\nEND")
        self.say("thermalservice", (DUMPS / "thermalservice-cool.txt").read_text())
        self.say("battery", (DUMPS / "battery.txt").read_text())
        self.write_program("dumpsys", 'cat "/system/dumps/$1"')

    def write(self, name: str, text: str) -> None:
        """Give one of its files this text."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write_program(self, name: str, script: str) -> None:
        """Give one of its programs these lines of shell."""
        path = self.root / "system" / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/system/bin/sh\n{script}\n")
        path.chmod(0o755)

    def say(self, service: str, text: str) -> None:
        """Have `dumpsys SERVICE` print this."""
        self.write(f"system/dumps/{service}", text)

    def start(self) -> None:
        """Serve, until `stop`."""
        daemon = Path(__file__).with_name("adbd.py")
        command = (*ISOLATED, sys.executable, str(daemon), str(self.port), str(self.root), BANNER, EMULATOR)
        with (self.root.parent / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the phone does not start")

    def stop(self) -> None:
        """End it and all that runs on it, as a device that is unplugged does."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def run_adb(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the client says, without anything of ours between."""
        return subprocess.run((find_adb(), *arguments), capture_output=True, text=True, timeout=60, check=False)

    def list_files(self) -> list[str]:
        """What is in the folder that is ours, but for what ONNX Runtime keeps about itself."""
        return sorted(path.name for path in self.own.iterdir() if path.name != ".ses") if self.own.exists() else []


@contextmanager
def serve(folder: Path) -> Iterator[MadeUpPhone]:
    """A phone, and a server of adb's that knows no other, until the block ends; adb is told of it by environment."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    phone = MadeUpPhone(folder / "root", *ports)
    keep_root()
    phone.prepare()
    before = {name: os.environ.get(name) for name in ("ANDROID_ADB_SERVER_PORT", "ANDROID_SERIAL", "ANDROID_USER_HOME")}
    os.environ |= {"ANDROID_ADB_SERVER_PORT": str(phone.server_port), "ANDROID_USER_HOME": str(folder)}
    os.environ.pop("ANDROID_SERIAL", None)
    phone.start()
    try:
        yield phone
    finally:
        with suppress(subprocess.TimeoutExpired):
            phone.run_adb("kill-server")
        phone.stop()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)

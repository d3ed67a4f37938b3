"""A small adbd, for the real adb to talk to: a process that serves shells of another root folder over TCP.

    python adbd.py PORT ROOT BANNER     within namespaces of its own, see `phones.py`

It speaks the protocol as Android's sources document it (protocol.txt, shell_protocol.h): CNXN, OPEN, OKAY, WRTE and
CLSE; the services are `shell,v2` and `shell`. Nobody has to authenticate: it listens on loopback alone.
"""

from __future__ import annotations

import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

HEADER = struct.Struct("<6I")
FRAME = struct.Struct("<BI")
CNXN, OPEN, OKAY, WRTE, CLSE = (int.from_bytes(name) for name in (b"NXNC", b"NEPO", b"YAKO", b"ETRW", b"ESLC"))
VERSION, MOST_BYTES = 0x01000001, 256 * 1024
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
TAKEN = -1
"""Ours: all that came before has been handed on, and the client may send more."""
CHROOT = shutil.which("chroot") or "chroot"
BINFMT = (
    ":deploy-prune-arm64:M::"
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
)


@dataclass(eq=False)
class Stream:
    """One service that the client has opened."""

    mine: int
    theirs: int
    cleared: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    unread: bytes = b""
    process: subprocess.Popen[bytes] | None = None
    given: queue.Queue[tuple[int, bytes]] = field(default_factory=queue.Queue)


class Session:
    """A connected client."""

    def __init__(self, link: socket.socket, root: str, banner: str) -> None:
        self.link, self.root, self.banner = link, root, banner
        self.streams: dict[int, Stream] = {}
        self.sending = threading.Lock()

    def send(self, command: int, first: int, second: int, content: bytes = b"") -> None:
        head = HEADER.pack(command, first, second, len(content), sum(content) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self.sending:
            self.link.sendall(head + content)

    def receive(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self.link.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return parts

    def serve(self) -> None:
        try:
            while True:
                command, first, second, length, _, _ = HEADER.unpack(self.receive(HEADER.size))
                self.answer(command, first, second, self.receive(length))
        except (EOFError, OSError):
            for stream in self.streams.values():
                if stream.process is not None:
                    stream.process.kill()

    def answer(self, command: int, first: int, second: int, content: bytes) -> None:
        if command == CNXN:
            self.send(CNXN, VERSION, MOST_BYTES, self.banner.encode())
        elif command == OPEN:
            self.open(first, content.rstrip(b"\0").decode())
        elif command == OKAY and second in self.streams:
            self.streams[second].cleared.release()
        elif command == WRTE and second in self.streams:
            self.take(self.streams[second], content)
        elif command == CLSE and (stream := self.streams.pop(second, None)) is not None:
            if stream.process is not None:
                stream.process.kill()
            stream.cleared.release()
            self.send(CLSE, stream.mine, stream.theirs)

    def open(self, theirs: int, service: str) -> None:
        kind, _, command = service.partition(":")
        if not kind.startswith("shell,v2") or not command:
            self.send(CLSE, 0, theirs)
            return
        stream = Stream(len(self.streams) + 1 + theirs, theirs)
        self.streams[stream.mine] = stream
        self.send(OKAY, stream.mine, theirs)
        argv = [CHROOT, self.root, "/system/bin/sh", "-c", command]
        environment = {"PATH": "/system/bin", "HOME": "/", "ANDROID_DATA": "/data"}
        pipe = subprocess.PIPE
        stream.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        threading.Thread(target=self.feed, args=(stream,), daemon=True).start()
        threading.Thread(target=self.carry, args=(stream,), daemon=True).start()

    def take(self, stream: Stream, content: bytes) -> None:
        """Frames of stdin; the client is told to go on once the process has taken them."""
        stream.unread += content
        while len(stream.unread) >= FRAME.size:
            kind, length = FRAME.unpack_from(stream.unread)
            if len(stream.unread) < FRAME.size + length:
                break
            body = stream.unread[FRAME.size : FRAME.size + length]
            stream.unread = stream.unread[FRAME.size + length :]
            stream.given.put((kind, body))
        stream.given.put((TAKEN, b""))

    def feed(self, stream: Stream) -> None:
        assert stream.process is not None and stream.process.stdin is not None
        stdin = stream.process.stdin
        while True:
            kind, content = stream.given.get()
            try:
                if kind == STDIN:
                    stdin.write(content)
                    stdin.flush()
                elif kind == CLOSE_STDIN:
                    stdin.close()
                elif kind == TAKEN:
                    self.send(OKAY, stream.mine, stream.theirs)
            except (OSError, ValueError):
                continue  # it has ended: who asked is told by its exit code

    def carry(self, stream: Stream) -> None:
        process = stream.process
        assert process is not None and process.stdout is not None and process.stderr is not None
        pipes = [(STDOUT, process.stdout), (STDERR, process.stderr)]
        turn = threading.Lock()

        def copy(kind: int, descriptor: int) -> None:
            while part := os.read(descriptor, MOST_BYTES // 2):
                with turn:
                    self.write(stream, FRAME.pack(kind, len(part)) + part)

        threads = [threading.Thread(target=copy, args=(kind, pipe.fileno()), daemon=True) for kind, pipe in pipes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        code = process.wait()
        self.write(stream, FRAME.pack(EXIT, 1) + bytes([code if code >= 0 else 128 - code]))
        if stream.mine in self.streams:
            self.send(CLSE, stream.mine, stream.theirs)

    def write(self, stream: Stream, content: bytes) -> None:
        if stream.mine in self.streams:
            try:
                self.send(WRTE, stream.mine, stream.theirs, content)
            except OSError:
                return
            stream.cleared.acquire()


def run_arm64_programs(emulator: str) -> None:
    """Have the kernel hand programs of arm64 to the emulator, within this namespace alone."""
    folder = Path("/proc/sys/fs/binfmt_misc")
    subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(folder)], check=True)
    (folder / "register").write_text(f"{BINFMT}{emulator}:POF")


def main() -> int:
    port, root, banner, emulator = sys.argv[1:]
    run_arm64_programs(emulator)
    with socket.create_server(("127.0.0.1", int(port))) as server:
        print("ready", flush=True)
        while True:
            link, _ = server.accept()
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Session(link, root, banner).serve, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())

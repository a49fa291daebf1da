"""Where programs listen: in a network of their own where the machine allows, else on the machine's.

The published orchestrators listen on every interface and cannot be told otherwise. Inside a network namespace that has
nothing but a loopback device nobody else reaches them. The test process stays outside: a small helper inside connects
for it and hands the connected socket out.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

START_SECONDS = 30.0

_HELPER = r"""
import fcntl, socket, struct, sys
SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, 0x41
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", UP_AND_RUNNING))
door = socket.socket(fileno=int(sys.argv[1]))
door.send(b"up")
while asked := door.recv(64):
    try:
        with socket.create_connection(("127.0.0.1", int(asked)), 10) as made:
            socket.send_fds(door, [b"made"], [made.fileno()])
    except OSError as error:
        door.send(str(error).encode()[:200])
"""


class Network(Protocol):
    """A loopback network that programs can be started in and spoken to."""

    isolated: bool

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that starts a command in this network, with the same process id."""
        ...

    def connect(self, port: int) -> socket.socket:
        """A connection to a port of the loopback address."""
        ...


class SharedNetwork:
    """The network of the machine."""

    isolated = False

    def inside(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def connect(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), 10)


class OwnNetwork:
    """A network namespace, which lives as long as its helper."""

    isolated = True

    def __init__(self, helper: subprocess.Popen[bytes], door: socket.socket) -> None:
        self._helper = helper
        self._door = door
        self._lock = threading.Lock()

    def inside(self, command: Sequence[str]) -> list[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self._helper.pid), *user, "--net", "--", *command]

    def connect(self, port: int) -> socket.socket:
        with self._lock:
            self._door.send(str(port).encode())
            said, descriptors, _, _ = socket.recv_fds(self._door, 256, 1)
        if not descriptors:
            raise ConnectionError(f"port {port}: {said.decode()}")
        return socket.socket(fileno=descriptors[0])


@contextmanager
def open_network() -> Iterator[Network]:
    """A network of its own where the machine allows, else the machine's."""
    if sys.platform != "linux" or not (shutil.which("unshare") and shutil.which("nsenter")):
        yield SharedNetwork()
        return
    door, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.settimeout(START_SECONDS)
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--net", "--", sys.executable, "-I", "-c", _HELPER, str(inner.fileno())]
    with door, subprocess.Popen(command, pass_fds=[inner.fileno()], stderr=subprocess.DEVNULL) as helper:
        inner.close()
        try:
            # The helper's end is closed without a word where the machine does not allow namespaces.
            is_up = door.recv(16) == b"up"
            yield OwnNetwork(helper, door) if is_up else SharedNetwork()
        finally:
            helper.kill()

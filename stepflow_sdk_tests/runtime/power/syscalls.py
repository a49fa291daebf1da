"""A small tracer: runs a program and notes what it asks the kernel to do with files, and what it sends to others.

``python -m stepflow_sdk_tests.runtime.power.syscalls RECORD FOLDER KILL_AT COMMAND…`` ends with the exit code of the
command; SIGTERM is passed on. Noted are the calls for files in the folder, and what goes into pipes and sockets. With
``KILL_AT`` n the program is killed as it makes the nth call that changes a file in the folder (0: never); the call does
not happen. Linux from 5.3 on tells a tracer of system calls in one way on every machine; only their numbers differ.
"""

import ctypes
import functools
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

CHANGES: Final = ("write", "create", "truncate", "rename", "unlink")


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A call that succeeded.

    Attributes:
        began: When, in a count that all calls share.
        ended: When it came back.
        name: What was done: one of `CHANGES`, ``sync`` (of a file or a directory) or ``send`` (to a pipe or socket).
        path: With what.
        place: Where something was written, or to which length a file was cut.
        data: What was written or sent.
        target: The new name of what was renamed.
    """

    began: int
    ended: int
    name: str
    path: str
    place: int = 0
    data: bytes = b""
    target: str = ""


_NUMBERS: Final = {
    "x86_64": {
        1: "write",
        18: "pwrite64",
        20: "writev",
        296: "pwritev",
        44: "sendto",
        46: "sendmsg",
        74: "fsync",
        75: "fdatasync",
        76: "truncate",
        77: "ftruncate",
        2: "open",
        257: "openat",
        82: "rename",
        264: "renameat",
        316: "renameat2",
        87: "unlink",
        263: "unlinkat",
    },
    "aarch64": {
        64: "write",
        68: "pwrite64",
        66: "writev",
        70: "pwritev",
        206: "sendto",
        211: "sendmsg",
        82: "fsync",
        83: "fdatasync",
        45: "truncate",
        46: "ftruncate",
        56: "openat",
        38: "renameat",
        276: "renameat2",
        35: "unlinkat",
    },
}
_AT_FDCWD: Final = -100
_WALL: Final = 0x40000000
_SYSCALL, _SEIZE, _GET_SYSCALL_INFO = 24, 0x4206, 0x420E
# Stops at system calls can be told from other traps; threads are traced too; nothing outlives the tracer.
_OPTIONS: Final = 0x1 | 0x8 | 0x100000


@functools.cache
def why_not() -> str | None:
    """Why nothing can be traced here, or None where it can."""
    if sys.platform != "linux" or platform.machine() not in _NUMBERS:
        return "system calls are traced on Linux, on x86_64 and aarch64"
    done = subprocess.run(
        [sys.executable, "-m", __name__, os.devnull, "/nowhere", "0", "true"], capture_output=True, check=False
    )
    return None if done.returncode == 0 else "this system does not let processes be traced"


def traced(record: Path, folder: Path, *command: str, kill_at: int = 0) -> list[str]:
    """The command that runs another one and notes its calls."""
    return [sys.executable, "-m", __name__, str(record), str(folder), str(kill_at), *command]


def recorded(record: Path, *, after: int = 0) -> list[Call]:
    """What was noted, in the order in which the calls came back; ``after`` is when the recording began."""
    return [
        msgspec.structs.replace(call, began=call.began + after, ended=call.ended + after)
        for call in msgspec.msgpack.decode(record.read_bytes(), type=list[Call])
    ]


class _Tracer:
    def __init__(self, folder: str, kill_at: int) -> None:
        self.calls: list[Call] = []
        self._folder = folder
        self._kill_at = kill_at
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._info = ctypes.create_string_buffer(96)
        self._clock = 0
        self._changes = 0
        self._entered: dict[int, list[Call]] = {}
        self._names = _NUMBERS[platform.machine()]

    def run(self, command: list[str]) -> int:
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvp(command[0], command)
        os.waitpid(pid, os.WUNTRACED)
        if self._ptrace(_SEIZE, pid, None, _OPTIONS):
            os.kill(pid, signal.SIGKILL)
            return 99
        signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
        os.kill(pid, signal.SIGCONT)
        code = 0
        while True:
            try:
                thread, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return code
            if not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status) if thread == pid else code
                continue
            stopped = os.WSTOPSIG(status)
            if stopped == signal.SIGTRAP | 0x80:
                self._at_call(pid, thread)
            passed_on = 0 if status >> 16 or stopped == signal.SIGTRAP | 0x80 else stopped
            self._ptrace(_SYSCALL, thread, None, passed_on)

    def _ptrace(self, request: int, thread: int, address: Any, data: Any) -> int:
        return int(self._libc.ptrace(request, thread, address, data))

    def _at_call(self, pid: int, thread: int) -> None:
        self._clock += 1
        if self._ptrace(_GET_SYSCALL_INFO, thread, len(self._info), self._info) <= 0:
            return  # it was killed
        words = memoryview(self._info.raw).cast("Q")
        if self._info.raw[0] == 1:
            name = self._names.get(words[3])
            arguments = [_signed(word) for word in words[4:10]]
            calls = [] if name is None else [*self._calls(thread, name, arguments)]
            self._entered[thread] = calls
            self._changes += (changes := any(call.name in CHANGES for call in calls))
            if changes and self._changes == self._kill_at:
                os.kill(pid, signal.SIGKILL)
        else:
            result = _signed(words[3])
            for call in self._entered.pop(thread, []):
                if result >= 0:
                    data = call.data[:result] if call.name in ("write", "send") else b""
                    self.calls.append(msgspec.structs.replace(call, ended=self._clock, data=data))

    def _calls(self, thread: int, name: str, a: list[int]) -> Iterator[Call]:
        now = self._clock
        if name in ("open", "openat"):
            yield from self._opening(thread, a if name == "openat" else [_AT_FDCWD, *a])
        elif name in ("rename", "renameat", "renameat2"):
            a = [_AT_FDCWD, a[0], _AT_FDCWD, a[1]] if name == "rename" else a
            path, target = self._path(thread, a[0], a[1]), self._path(thread, a[2], a[3])
            if self._ours(path):
                yield Call(now, 0, "rename", path, target=target)
        elif name in ("unlink", "unlinkat"):
            a = [_AT_FDCWD, *a] if name == "unlink" else a
            if self._ours(path := self._path(thread, a[0], a[1])):
                yield Call(now, 0, "unlink", path)
        elif name == "truncate":
            if self._ours(path := self._path(thread, _AT_FDCWD, a[0])):
                yield Call(now, 0, "truncate", path, a[1])
        else:
            yield from self._with_descriptor(thread, name, a)

    def _with_descriptor(self, thread: int, name: str, a: list[int]) -> Iterator[Call]:
        now = self._clock
        try:
            path = str(Path(f"/proc/{thread}/fd/{a[0]}").readlink())
        except OSError:
            return
        sending = path.startswith(("socket:", "pipe:"))
        if not sending and not self._ours(path):
            return
        if name in ("fsync", "fdatasync"):
            yield Call(now, 0, "sync", path)
        elif name == "ftruncate":
            yield Call(now, 0, "truncate", path, a[1])
        else:
            data = self._data(thread, name, a)
            place = 0 if sending else a[3] if name.startswith("p") else _position(thread, a[0])
            yield Call(now, 0, "send" if sending else "write", path, place, data)

    def _opening(self, thread: int, a: list[int]) -> Iterator[Call]:
        path = self._path(thread, a[0], a[1])
        if not self._ours(path):
            return
        if a[2] & os.O_CREAT and not os.path.lexists(path):
            yield Call(self._clock, 0, "create", path)
        elif a[2] & os.O_TRUNC:
            yield Call(self._clock, 0, "truncate", path)

    def _ours(self, path: str) -> bool:
        return path == self._folder or path.startswith(f"{self._folder}/")

    def _data(self, thread: int, name: str, a: list[int]) -> bytes:
        if name in ("write", "pwrite64", "sendto"):
            return _memory(thread, a[1], a[2])
        if name == "sendmsg":
            header = memoryview(_memory(thread, a[1], 56)).cast("Q")
            vector, count = header[2], header[3]
        else:
            vector, count = a[1], a[2]
        parts = memoryview(_memory(thread, vector, 16 * count)).cast("Q")
        return b"".join(_memory(thread, parts[2 * n], parts[2 * n + 1]) for n in range(count))

    def _path(self, thread: int, folder: int, address: int) -> str:
        text = b""
        while b"\0" not in text:
            # Never over the end of a page: what comes behind it need not be there.
            at = address + len(text)
            text += _memory(thread, at, 256 - at % 256)
        path = os.fsdecode(text.split(b"\0")[0])
        folder = ctypes.c_int(folder).value  # the upper half of the word is not always that of the number
        base = f"/proc/{thread}/cwd" if folder == _AT_FDCWD else f"/proc/{thread}/fd/{folder}"
        return path if path.startswith("/") else str(Path(base).readlink() / path)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _memory(thread: int, address: int, size: int) -> bytes:
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        return os.pread(memory.fileno(), size, address) if size else b""


def _position(thread: int, descriptor: int) -> int:
    return int(Path(f"/proc/{thread}/fdinfo/{descriptor}").read_text("utf-8").split()[1])


def main() -> int:
    record, folder, kill_at, *command = sys.argv[1:]
    tracer = _Tracer(folder, int(kill_at))
    code = tracer.run(command)
    Path(record).write_bytes(msgspec.msgpack.encode(tracer.calls))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())

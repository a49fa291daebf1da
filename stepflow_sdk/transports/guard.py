"""Children end with this process, however it ends.

A process that is killed can end nobody. So while there are children, a shell waits for the end of a pipe that only this
process holds open, and then kills the process groups that it was told of. Unlike the kernel's signal for the death of a
parent, that reaches the children of children, needs no code between fork and exec, and is not a matter of one system.
"""

import logging
import os
import subprocess
import threading

import anyio.to_thread

__all__ = ["release", "watch"]

_SHELL = "/bin/sh"
_PROGRAM = """
groups=" "
while read -r sign group; do
    case $sign in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"""

_END_SECONDS = 5.0

_log = logging.getLogger("stepflow_sdk.transports")


class _Guard:
    """The shell, and the groups that it knows; event loops in several threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()

    def add(self, group: int) -> None:
        with self._lock:
            self._groups.add(group)
            if self._shell is None or not _tell(self._shell, f"+ {group}\n"):
                self._start()

    def remove(self, group: int) -> "subprocess.Popen[bytes] | None":
        """Forget a group; returns the shell when it was the last one."""
        with self._lock:
            self._groups.discard(group)
            if self._shell is not None:
                _tell(self._shell, f"- {group}\n")
            if self._groups:
                return None
            shell, self._shell = self._shell, None
            return shell

    def leave(self) -> None:
        """Have nothing to do with the shell of the process that this one was forked from, nor hold its pipe open."""
        shell, self._shell = self._shell, None
        # Whoever held the lock is not in this process.
        self._groups, self._lock = set(), threading.Lock()
        if shell is not None and shell.stdin is not None:
            shell.stdin.close()
            shell.returncode = 0  # it is not a child of this process, which must not wait for it

    def _start(self) -> None:
        if self._shell is not None:
            _end(self._shell)
        try:
            self._shell = subprocess.Popen(
                (_SHELL, "-c", _PROGRAM),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._shell = None
            _log.debug("servers that ignore the end of their stdin would outlive a kill of this process: %s", error)
            return
        _tell(self._shell, "".join(f"+ {group}\n" for group in self._groups))


def _tell(shell: "subprocess.Popen[bytes]", text: str) -> bool:
    # Not through the buffer of the file, so that a shell that is gone is noticed here.
    try:
        return shell.stdin is not None and os.write(shell.stdin.fileno(), text.encode()) == len(text)
    except OSError:
        return False


def _end(shell: "subprocess.Popen[bytes]") -> None:
    if shell.stdin is not None:
        shell.stdin.close()
    try:
        shell.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        shell.kill()
        shell.wait()


_guard = _Guard()
if os.name == "posix":
    os.register_at_fork(after_in_child=_guard.leave)


def watch(group: int) -> None:
    """Have a process group killed when this process ends before `release`; nothing where there are no such groups."""
    if os.name == "posix":
        _guard.add(group)


async def release(group: int) -> None:
    """Forget a process group that has ended; the shell ends with the last one."""
    shell = _guard.remove(group)
    if shell is not None:
        await anyio.to_thread.run_sync(_end, shell)

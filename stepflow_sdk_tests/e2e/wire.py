"""A component server as a real process, spoken to line by line."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SERVERS = Path(__file__).parent / "servers"
PATIENCE = 60.0
"""Seconds that anything may take on a busy machine before a test gives up."""


class Wire:
    """The runtime's end of a server process, by hand."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.replies: queue.Queue[Any] = queue.Queue()
        self.stderr = bytearray()
        self._may_read = threading.Event()
        self._may_read.set()
        self._threads = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send_bytes(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, *messages: Any) -> None:
        self.send_bytes(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def request(self, id: int | str, method: str, params: Any) -> None:
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    def execute(self, id: int | str, component: str, input: Any = None, **ids: str) -> None:
        params = {"component": component, "input": input, "attempt": 1, "observability": ids}
        self.request(id, "components/execute", params)

    def receive(self) -> Any:
        line = self.replies.get(timeout=PATIENCE)
        assert line is not None, f"the server closed stdout; its stderr:\n{self.stderr.decode()[-2000:]}"
        return json.loads(line)

    def receive_all(self, count: int) -> dict[Any, Any]:
        """The next replies, by their ids; each id may come once."""
        replies = [self.receive() for _ in range(count)]
        by_id = {reply["id"]: reply for reply in replies}
        assert len(by_id) == count
        return by_id

    def initialize(self) -> None:
        self.request("init", "initialize", {"runtime_protocol_version": 1})
        assert self.receive()["result"]["server_protocol_version"] == 1
        self.send({"jsonrpc": "2.0", "method": "initialized", "params": {}})

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def rest(self) -> list[Any]:
        """Everything that comes until stdout is closed."""
        lines = []
        while (line := self.replies.get(timeout=PATIENCE)) is not None:
            lines.append(json.loads(line))
        return lines

    def stall(self) -> None:
        """Read no more than one further reply until `read_on`."""
        self._may_read.clear()

    def read_on(self) -> None:
        self._may_read.set()

    def memory(self) -> int:
        """The resident memory of the server, in bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def peak_memory_until_idle(self) -> int:
        """The most resident memory until the server's processor time stands still for a while."""
        peak, still, last = 0, 0, -1
        pause = threading.Event()
        while still < 10:
            peak = max(peak, self.memory())
            used = sum(map(int, Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
            still, last = (still + 1, last) if used == last else (0, used)
            pause.wait(0.05)
        return peak

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        return code

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        while self._may_read.wait() and (line := self.process.stdout.readline()):
            self.replies.put(line)
        self.replies.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line


@contextmanager
def serving(
    name: str, *arguments: str, initialize: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[Wire]:
    """Run one of the servers of this folder, and see to it that it ends."""
    command = [sys.executable, str(SERVERS / f"{name}.py"), *arguments]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables
    )
    wire = Wire(process)
    try:
        if initialize:
            wire.initialize()
        yield wire
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    import time

    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.01)


def runs(process_id: int) -> bool:
    """Whether a process is alive."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # Where nobody reaps orphans, the dead one stays in the table.
    stat = Path(f"/proc/{process_id}/stat")
    return not stat.exists() or ") Z " not in stat.read_text()

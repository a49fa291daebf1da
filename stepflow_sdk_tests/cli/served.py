"""``stepflow-sdk serve`` as a process, and requests to it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60.0


class Served:
    """A running service."""

    def __init__(self, process: subprocess.Popen[str], stderr: Path) -> None:
        self.process = process
        self._stderr = stderr
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.stderr
        self.port = json.loads(line)["port"]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8")

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and body of the answer to a request."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{self.url}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def start(self, flow: Any, *inputs: Any, **options: Any) -> Any:
        """Start a run and return the answer."""
        _, stored = self.call("POST", "/api/v1/flows", {"flow": flow})
        body = {"flowId": stored["flowId"], "input": list(inputs), **options}
        status, answer = self.call("POST", "/api/v1/runs", body)
        assert status in (200, 202), answer
        return answer

    def wait(self) -> int:
        """The exit code, when it has ended."""
        return self.process.wait(PATIENCE)


@contextmanager
def served(directory: Path, *arguments: str, under: Sequence[str] = ()) -> Iterator[Served]:
    """Start ``serve`` in a directory, by another program if one is named, and see to its end."""
    command = [*under, sys.executable, "-m", "stepflow_sdk", "serve", "--port", "0", *arguments]
    stderr = directory / "serve.err"
    with (
        stderr.open("w", encoding="utf-8") as stream,
        subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=stream, text=True) as process,
    ):
        try:
            yield Served(process, stderr)
        finally:
            process.kill()

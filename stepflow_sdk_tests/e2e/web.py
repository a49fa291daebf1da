"""A component server as a real HTTP process, spoken to by hand."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stepflow_sdk_tests.e2e.wire import PATIENCE, SERVERS

HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Reply:
    """A response with its body read."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stream:
    """An event stream that is being read."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.connection = connection
        self.response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.lines: list[bytes] = []

    def event(self) -> dict[str, str]:
        """The next event with data, read as the orchestrators read: LF only, one line of data."""
        fields: dict[str, str] = {}
        while True:
            line = self.response.readline()
            assert line, "the stream ended"
            self.lines.append(line)
            assert line.endswith(b"\n")
            assert not line.endswith(b"\r\n")
            if line == b"\n":
                if "data" in fields:
                    return fields
                fields = {}
            elif not line.startswith(b":"):
                name, _, value = line.decode("ascii").rstrip("\n").partition(": ")
                assert name not in fields, "one line of data for each event"
                fields[name] = value

    def message(self) -> Any:
        return json.loads(self.event()["data"])

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class Web:
    """The runtime's end of an HTTP server, by hand."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.stderr = bytearray()
        assert process.stderr is not None
        threading.Thread(target=self._read_stderr, args=[process.stderr], daemon=True).start()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def send(
        self, method: str = "POST", path: str = "/", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = self.connect()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {**HEADERS, **(headers or {})})
        try:
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def open(self, path: str = "/", body: Any = None, method: str = "POST") -> Stream:
        connection = self.connect()
        connection.request(method, path, None if body is None else json.dumps(body).encode(), HEADERS)
        return Stream(connection, connection.getresponse())

    def execute(self, component: str, input: Any = None, path: str = "/") -> Any:
        return self.send(path=path, body=execution(component, input)).json

    def _read_stderr(self, stream: Any) -> None:
        for line in stream:
            self.stderr += line


def execution(component: str, input: Any = None, id: int | str = 1) -> dict[str, Any]:
    params = {"component": component, "input": input, "attempt": 1, "observability": {"run_id": "run-7"}}
    return {"jsonrpc": "2.0", "id": id, "method": "components/execute", "params": params}


@contextmanager
def serving_http(name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Web]:
    """Run one of the servers of this folder over HTTP, and see to it that it ends."""
    command = [sys.executable, str(SERVERS / f"{name}.py"), "--http", *arguments]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait(PATIENCE)
            assert process.stderr is not None
            raise AssertionError(process.stderr.read().decode()[-2000:])
        yield Web(process, json.loads(line)["port"])
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

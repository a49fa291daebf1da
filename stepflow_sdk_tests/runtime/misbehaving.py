"""A server without this library that misbehaves as its components say: ``stdio``, ``http`` or ``mcp`` is how it speaks.

Where a second argument names a pipe, the server and a child of its own ignore every request to end and hold the pipe
open, unless another server has taken it before.
"""

import http.server
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """The result for a message, or None for no answer at all."""
    params = message.get("params") or {}
    match message.get("method"):
        case "initialize" if "protocolVersion" in params:
            info = {"name": "misbehaving", "version": "1"}
            version = params["protocolVersion"]
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "initialize":
            return {"server_protocol_version": 1}
        case "components/list":
            return {"components": []}
        case "tools/list":
            return {"tools": [{"name": "pid", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            return {"content": [{"type": "text", "text": str(execute(params["name"], 1))}]}
        case "components/execute":
            output = execute(params["component"][1:], params["attempt"])
            return None if output is None else {"output": output}
    return None


def execute(component: str, attempt: int) -> Any:
    match component:
        case "pid":
            return os.getpid()
        case "hang":
            print("I have to think", file=sys.stderr, flush=True)
            time.sleep(600)
        case "forget":
            return None if attempt == 1 else attempt
        case "flood":
            sys.stderr.write("x" * 20_000_000 + "\nthe end of the flood\n")
            sys.stderr.flush()
            return "flooded"
        case "rubbish":
            print("no message\n[1, 2]\n{\n\x00\xff" * 1000, flush=True)
            return "rubbish"
        case "line":
            for _ in range(200):
                sys.stdout.write("x" * 1_000_000)
            print(flush=True)
            return "line"
        case "flood and die":
            execute("flood", attempt)
            os._exit(3)
    return None


def hold(pipe: str) -> None:
    """Ignore every request to end, as a child of this does, and hold the pipe open."""
    descriptor = os.open(pipe, os.O_WRONLY)
    Path(pipe).unlink()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(descriptor, True)
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply(200, b"")

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        result = answer(message)
        if "id" in message and result is not None:
            self.reply(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())
        elif "id" in message:
            self.reply(200, b"rubbish")
        else:
            self.reply(202, b"")

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":
    if holds := len(sys.argv) > 2 and Path(sys.argv[2]).exists():
        hold(sys.argv[2])
    if sys.argv[1] == "http":
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        server.serve_forever()
    for line in sys.stdin:
        request = json.loads(line)
        result = answer(request) if isinstance(request, dict) else None
        if result is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
    while holds:  # the end of stdin is a request to end too
        time.sleep(600)

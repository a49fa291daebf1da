"""A component server without this library: plain HTTP, an announced port, and some ways to misbehave."""

import http.server
import json
import os
import signal
import sys
import threading
import time
from typing import Any

health_checks = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        global health_checks
        health_checks += 1
        self.answer(204 if self.path == "/ready" and health_checks >= 3 else 503, b"")

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message:
            self.answer(202, b"")
            return
        result: Any = {"server_protocol_version": 1}
        if message["method"] == "components/execute":
            result = {"output": self.execute(message["params"]["component"])}
        self.answer(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())

    def execute(self, component: str) -> Any:
        if component == "/deaf":
            # It runs on, but nobody can connect to it any more.
            self.close_connection = True
            threading.Thread(target=server.shutdown).start()
        if component in {"/exit", "/kill"}:
            print("these are my last words", file=sys.stderr, flush=True)
            if component == "/kill":
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(3)
        return {"/pid": os.getpid(), "/checks": health_checks, "/key": os.environ.get("KEY")}.get(component)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print("loading the model")
print(json.dumps({"port": server.server_address[1]}), flush=True)
print("ready", file=sys.stderr, flush=True)
server.serve_forever()
server.server_close()
time.sleep(600)

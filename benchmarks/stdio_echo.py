"""One stdio echo call against the floor: CPU of the server process and wall time per request, in one run.

Usage: python benchmarks/stdio_echo.py [--requests 20000] [--rounds 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
IDS = {
    "trace_id": "01a1f889fa737f52989e774bd987ce5b",
    "span_id": "a420172c00000008",
    "run_id": "01a1f889-fa73-7f52-989e-774bd987ce5b",
    "flow_id": "01a1f889fa737f52989e774bd987ce5b" * 2,
    "step_id": "s1",
}


class Server:
    def __init__(self, script: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        os.sched_setaffinity(self.process.pid, {0})

    def cpu(self) -> float:
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def exchange(self, lines: bytes, count: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(lines)
        seen = 0
        while seen < count:
            data = os.read(self.process.stdout.fileno(), 1 << 18)
            assert data, "the server ended"
            seen += data.count(b"\n")


def line(component: str, number: int) -> bytes:
    params = {"component": component, "input": {"a": 1, "b": "two"}, "attempt": 1, "observability": IDS}
    id = f"01a1f889-fa73-7f52-989e-{number:012x}"
    message = {"jsonrpc": "2.0", "id": id, "method": "components/execute", "params": params}
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def measure(script: str, component: str, in_flight: int, requests: int) -> tuple[float, float]:
    server = Server(script)
    initialize = {"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {"runtime_protocol_version": 1}}
    if script != "floor_stdio.py":
        server.exchange(json.dumps(initialize).encode() + b"\n", 1)
    batch = b"".join(line(component, number) for number in range(in_flight))
    for _ in range(max(1, 2000 // in_flight)):
        server.exchange(batch, in_flight)
    cpu, wall = server.cpu(), time.perf_counter()
    for _ in range(requests // in_flight):
        server.exchange(batch, in_flight)
    count = requests // in_flight * in_flight
    result = (server.cpu() - cpu) / count * 1e6, (time.perf_counter() - wall) / count * 1e6
    server.process.kill()
    server.process.wait()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {0})
    variants = [
        ("floor", "floor_stdio.py", "/echo"),
        ("async def", "echo_server.py", "/echo"),
        ("def, run_in_thread=False", "echo_server.py", "/echo/inline"),
        ("def in a thread", "echo_server.py", "/echo/thread"),
    ]
    for in_flight in (1, 64):
        print(f"{in_flight} in flight")
        rounds = [
            [measure(script, component, in_flight, options.requests) for _, script, component in variants]
            for _ in range(options.rounds)
        ]
        for index, (name, _, _) in enumerate(variants):
            cpu = statistics.median(one[index][0] for one in rounds)
            wall = statistics.median(one[index][1] for one in rounds)
            ratio = statistics.median(one[index][0] / one[0][0] for one in rounds)
            print(f"  {name:26} {cpu:7.2f} us CPU  {wall:7.2f} us wall  {ratio:5.2f} x the floor")


if __name__ == "__main__":
    main()

"""Starts the published orchestrator with our components behind it, and runs the document pipeline on it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from stepflow_sdk.flows import load_flow

HERE = Path(__file__).resolve().parent
PIPELINE = HERE.parent / "document_pipeline"
START_SECONDS = 60
RUN_SECONDS = 300
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """The orchestrator could not be used; the message says why."""


def find_engine() -> tuple[Path, str]:
    """The program of the installed wheel, and its version."""
    install = f"pip install -r {HERE / 'requirements.txt'}"
    try:
        wheel = distribution("stepflow-orchestrator")
    except PackageNotFoundError:
        raise Failed(f"the orchestrator is not installed; {install}") from None
    if wheel.version.split(".")[:2] not in (["0", "9"], ["0", "10"], ["0", "11"]):
        raise Failed(f"version {wheel.version} of the orchestrator speaks another protocol, 0.11 is right; {install}")
    engine = Path(str(wheel.locate_file("stepflow_orchestrator/bin/stepflow-server")))
    if not engine.is_file():
        raise Failed(f"the wheel of the orchestrator has no program for this platform at {engine}")
    return engine, wheel.version


@contextmanager
def running(engine: Path) -> Iterator[str]:
    """Run the orchestrator on a free port; yields the address of its REST API."""
    # `command: python` of the configuration is the Python that runs this, with the packages it has.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        [engine, "--port", "0", "--config", HERE / "stepflow-config.yml", "--log-level", "warn"],
        cwd=HERE,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    ports: deque[int] = deque()
    log: deque[str] = deque(maxlen=30)
    ready = threading.Event()

    def read() -> None:
        # Until the end, because a program whose output nobody reads stops.
        for line in process.stdout or ():
            log.append(line)
            if not ports and line.startswith('{"port"'):
                ports.append(json.loads(line)["port"])
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        ready.wait(START_SECONDS)
        if not ports:
            raise Failed(f"the orchestrator did not start:\n{''.join(log)}")
        yield f"http://127.0.0.1:{ports[0]}/api/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(10)


def ask(url: str, body: Any = None) -> Any:
    """One request to the REST API: POST with a body, GET without."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with DIRECT.open(request, timeout=RUN_SECONDS + 30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Failed(f"{request.get_method()} {url}: {error}: {error.read(500).decode('utf-8', 'replace')}") from None
    except OSError as error:
        raise Failed(f"{request.get_method()} {url}: {error}") from None


def run_flow(api: str, flow: Path, input: Any) -> Any:
    """Store a flow, run it on one input, and return its outcome."""
    stored = ask(f"{api}/flows", {"flow": load_flow(flow).to_json()})
    if not stored["stored"]:
        raise Failed(f"the orchestrator refuses the flow: {json.dumps(stored['diagnostics'])[:2000]}")
    run = ask(f"{api}/runs", {"flowId": stored["flowId"], "input": [input], "wait": True, "timeoutSecs": RUN_SECONDS})
    for step in ask(f"{api}/runs/{run['runId']}/steps")["steps"].values():
        print(f"  {step['status']:<10}{step['stepId']:<12}{step['component']}", file=sys.stderr)
    (item,) = ask(f"{api}/runs/{run['runId']}/items")["items"]
    return item.get("result") or {"outcome": item["status"]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the document pipeline on the published orchestrator.")
    parser.add_argument("files", nargs="*", type=Path, default=[PIPELINE / "texts"], help="text files and directories")
    parser.add_argument("--output", type=Path, default=Path("output"), help="where the report goes (%(default)s)")
    options = parser.parse_args()
    # So that the orchestrator is stopped then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The components run in another directory.
    input = {"files": [str(path.absolute()) for path in options.files], "output": str(options.output.absolute())}
    try:
        engine, version = find_engine()
        started = time.perf_counter()
        with running(engine) as api:
            print(
                f"stepflow-orchestrator {version} at {api}, up in {time.perf_counter() - started:.1f} s",
                file=sys.stderr,
            )
            outcome = run_flow(api, PIPELINE / "flow.yaml", input)
    except Failed as failure:
        sys.exit(f"run.py: {failure}")
    print(json.dumps(outcome, indent=2, ensure_ascii=False))
    sys.exit(outcome["outcome"] != "success")


if __name__ == "__main__":
    main()

"""Steps per second of a chain and of parallel steps: the bundled runtime and the published orchestrators, in one run.

Everybody drives an echo component: the bundled runtime ours, in process, over stdio and over HTTP; each orchestrator
ours over HTTP, and the one written with stepflow-py of its own version. The variants take turns, so that a busy machine
is busy for all of them. An orchestrator is asked over one kept connection, and its run includes that request.

Usage: python benchmarks/steps.py [--rounds 7] [--seconds 0.5] [--json FILE]
"""

import argparse
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from anyio.from_thread import start_blocking_portal

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from stepflow_sdk.flows import parse_flow  # noqa: E402  (the checkout comes first)
from stepflow_sdk.runtime import LocalRuntime  # noqa: E402
from stepflow_sdk_tests.interop.environments import InstallFailed, Package, orchestrator_binary, python_of  # noqa: E402
from stepflow_sdk_tests.interop.network import Network, open_network  # noqa: E402
from stepflow_sdk_tests.interop.orchestrator import running_orchestrator  # noqa: E402

VERSIONS = ("0.9.0", "0.11.1")
HERE = Path(__file__).parent
AT_ONCE = 100
INPUT = {"value": {"a": 1, "b": "two"}}


def chain(length: int) -> dict[str, Any]:
    """Each step has the output of the one before as its input."""
    steps: list[dict[str, Any]] = [
        {"id": f"s{index}", "component": "/py/echo", "input": {"$step": f"s{index - 1}"} if index else {"$input": "$"}}
        for index in range(length)
    ]
    return {"name": "chain", "steps": steps, "output": {"$step": f"s{length - 1}"}}


def parallel(width: int) -> dict[str, Any]:
    """All steps have the input of the flow as theirs."""
    steps = [{"id": f"s{index}", "component": "/py/echo", "input": {"$input": "$"}} for index in range(width)]
    return {"name": "parallel", "steps": steps, "output": [{"$step": step["id"]} for step in steps]}


FLOWS = {"chain of 10": chain(10), "100 parallel": parallel(100)}


class Variant(NamedTuple):
    """Somebody who runs flows.

    Attributes:
        name: What the table calls it.
        run: Runs one of the flows as many times, by its name, one run after the other, and returns the last result.
    """

    name: str
    run: Callable[[str, int], Any]


@contextmanager
def bundled(name: str, runtime: LocalRuntime) -> Iterator[Variant]:
    """The bundled runtime with one of its ways to our server, on an event loop."""
    flows = {title: parse_flow(flow) for title, flow in FLOWS.items()}

    async def run(title: str, times: int) -> Any:
        for _ in range(times):
            outcome = await runtime.run(flows[title], INPUT, max_concurrency=AT_ONCE)
        return outcome.unwrap()

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(runtime):
        yield Variant(name, lambda title, times: portal.call(run, title, times))


@contextmanager
def orchestrated(name: str, version: str, plugin: Mapping[str, Any], network: Network) -> Iterator[Variant]:
    """A published orchestrator that starts a component server."""
    config = {"plugins": {"py": plugin}, "routes": {"/py/{*component}": [{"plugin": "py"}]}}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        orchestrator = stack.enter_context(running_orchestrator(version, config, network, directory))
        ids = {title: orchestrator.store(flow) for title, flow in FLOWS.items()}
        connection = HTTPConnection("127.0.0.1", orchestrator.port, timeout=120)
        connection.sock = network.connect(orchestrator.port)
        connection.sock.settimeout(120)
        # Head and body are two writes; without this the second waits 40 ms until the first one is acknowledged.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waits = {} if version.startswith("0.9") else {"wait": True}

        def run(title: str, times: int) -> Any:
            return [run_once(title) for _ in range(times)][-1]

        def run_once(title: str) -> Any:
            request = {"flowId": ids[title], "input": [INPUT], "maxConcurrency": AT_ONCE, **waits}
            headers = {"content-type": "application/json"}
            connection.request("POST", "/api/v1/runs", json.dumps(request), headers)
            answer: Any = json.loads(connection.getresponse().read())
            found = answer["results"][0]["result"] if "results" in answer else answer["result"]
            return found["result"]

        yield Variant(name, run)
        connection.close()


def variants(stack: ExitStack, orchestrators: bool = True) -> Iterator[Variant]:
    """Start everybody; an orchestrator that cannot be installed is said, and left out."""
    sys.path.insert(0, str(HERE))
    from echo_server import server

    command = [sys.executable, str(HERE / "echo_server.py")]
    plugin = {
        "type": "stepflow",
        "command": command[0],
        "args": [command[1], "--http"],
        "env": {"PATH": "/usr/bin:/bin"},
    }
    http = {"plugins": {"py": plugin}, "routes": {"/py/{*component}": [{"plugin": "py"}]}}
    yield stack.enter_context(bundled("bundled runtime, in process", LocalRuntime({"py": server})))
    yield stack.enter_context(bundled("bundled runtime, stdio", LocalRuntime({"py": command})))
    yield stack.enter_context(bundled("bundled runtime, HTTP", LocalRuntime.from_config(http)))
    network = stack.enter_context(open_network())
    for version in VERSIONS if orchestrators else ():
        try:
            orchestrator_binary(version)
        except InstallFailed as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        yield stack.enter_context(orchestrated(f"orchestrator {version}, our server", version, plugin, network))
        try:
            python = python_of(Package("stepflow-py", version, "http", undeclared=("urllib3",)))
        except InstallFailed as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        theirs = {**plugin, "command": str(python), "args": [str(HERE / "steps_echo.py")]}
        yield stack.enter_context(
            orchestrated(f"orchestrator {version}, stepflow-py {version}", version, theirs, network)
        )


def measure(variant: Variant, title: str, seconds: float) -> float:
    """Steps per second of one turn."""
    steps = len(FLOWS[title]["steps"])
    began = time.perf_counter()
    runs, times = 0, 1
    while (took := time.perf_counter() - began) < seconds or not runs:
        variant.run(title, times)
        runs += times
        times = min(2 * times, 64)
    return runs * steps / took


def benchmark(rounds: int, seconds: float, orchestrators: bool = True) -> dict[str, dict[str, list[float]]]:
    """Steps per second of each variant and flow, one number a round."""
    with ExitStack() as stack:
        everybody = list(variants(stack, orchestrators))
        for variant in everybody:
            for title, flow in FLOWS.items():
                wanted = INPUT if title == "chain of 10" else [INPUT] * len(flow["steps"])
                assert variant.run(title, 1) == wanted, f"{variant.name} does not echo"
        results: dict[str, dict[str, list[float]]] = {one.name: {title: [] for title in FLOWS} for one in everybody}
        for _ in range(rounds):
            for variant in everybody:
                for title in FLOWS:
                    results[variant.name][title].append(measure(variant, title, seconds))
    return results


def table(results: Mapping[str, Mapping[str, list[float]]]) -> Iterator[str]:
    """The medians, a line each."""
    width = max(map(len, results))
    titles = list(next(iter(results.values())))
    yield " " * width + "".join(f"  {title:>22}" for title in titles) + "   (steps per second, median)"
    for name, by_flow in results.items():
        yield f"{name:<{width}}" + "".join(f"  {statistics.median(by_flow[title]):22.0f}" for title in titles)


def main() -> None:
    """Print the table, and write the numbers where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn")
    parser.add_argument("--json", type=Path, help="where all numbers go")
    options = parser.parse_args()
    results = benchmark(options.rounds, options.seconds)
    for line in table(results):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()

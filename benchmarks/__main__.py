"""`scripts/bench`: the command line of the benchmarks."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import growth, growth_flows, growth_servers, report, steps
from benchmarks.processes import pin
from benchmarks.rounds import Row, run
from benchmarks.subjects import FLOOR, OURS, Subject, subjects
from benchmarks.workloads import WORKLOADS
from stepflow_sdk_tests.interop.environments import InstallFailed

TRANSPORTS = ["stdio", "http"]

SERIES = {series.name: series for series in [*growth_servers.SERIES, *growth_flows.SERIES]}
STEPS = "steps"
NAMES = [*(workload.name for workload in WORKLOADS), STEPS]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure servers beside one another.")
    parser.add_argument("--workload", action="append", choices=NAMES, help="may be repeated; all by default")
    parser.add_argument("--transport", choices=TRANSPORTS, help="both by default")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="everything once, and small: to see that it works")
    parser.add_argument("--server", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--no-peers", action="store_true", help="only our server and the floors")
    parser.add_argument("--growth", action="store_true", help="measure how the cost of our server and runtime grows")
    parser.add_argument("--series", action="append", choices=list(SERIES), help="of --growth; may be repeated")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of a series of --growth (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds is 1 at least")
    known = {subject.name for transport in TRANSPORTS for subject in subjects(transport)}
    for name in options.server or ():
        if name not in known:
            parser.error(f"--server: nobody is called {name!r}; there are {', '.join(sorted(known))}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; the exit code is 1 if our server or a floor failed."""
    options = parse(arguments)
    if options.growth:
        return grow(options)
    # Who runs a flow and who serves it are two programs, as they are for users, on all CPUs. How the system places the
    # two decides a chain over stdio, so the steps are counted on one CPU, too, as everything else is measured.
    per_second = measured_steps(options, "")
    cpu = pin()
    if cpu is not None:
        for name, flows in measured_steps(options, ", one CPU").items():
            per_second[name].update(flows)
    rows: list[Row] = []
    for row in measured(options):
        rows.append(row)
        write(options.json, {"rows": report.as_json(rows), "steps": per_second}, cpu)
    if rows:
        say(["", *report.details(rows)])
    write(options.json, {"rows": report.as_json(rows), "steps": per_second}, cpu)
    return int(any({OURS, FLOOR} & row.failures.keys() for row in rows))


def grow(options: argparse.Namespace) -> int:
    """How cost grows; the exit code is always 0."""
    curves = []
    for name in options.series or SERIES:
        tell(f"growth of {name}")
        curves.append(growth.follow(SERIES[name], options.budget))
        say(growth.lines(curves[-1:]))
        # What is there is kept, however the next one ends.
        write(options.json, {"growth": growth.as_json(curves)}, None)
    return 0


def measured_steps(options: argparse.Namespace, where: str) -> dict[str, dict[str, list[float]]]:
    """Steps per second; ``where`` is what is added to the names of the flows."""
    if STEPS not in (options.workload or [STEPS]):
        return {}
    tell(f"steps per second{where}")
    counted = steps.benchmark(
        1 if options.quick else options.rounds, 0.05 if options.quick else 0.5, orchestrators=not options.no_peers
    )
    found = {name: {f"{title}{where}": rates for title, rates in flows.items()} for name, flows in counted.items()}
    say([*steps.table(found), ""])
    return found


def measured(options: argparse.Namespace) -> Iterator[Row]:
    """The rows that are asked for; each is printed when it is there, for a whole run takes long."""
    chosen = [workload for workload in WORKLOADS if workload.name in (options.workload or NAMES)]
    for transport in ([options.transport] if options.transport else TRANSPORTS) if chosen else ():
        present = list(installed(transport, [OURS, FLOOR] if options.no_peers else options.server))
        names = [subject.name for subject in present]
        say([report.head(names)])
        for workload in chosen:
            wanted = workload.quick() if options.quick else workload
            row = run(wanted, transport, present, 1 if options.quick else options.rounds, tell)
            say(report.lines(row, names))
            yield row


def installed(transport: str, names: Sequence[str] | None) -> Iterator[Subject]:
    """Those servers that can be had here; what is missing is said, and left out."""
    for subject in subjects(transport):
        if names and subject.name not in names:
            continue
        try:
            subject.install()
        except InstallFailed as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        yield subject


def tell(what: str) -> None:
    """Say what is done now, where somebody looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def say(lines: Iterable[str]) -> None:
    """Print lines of the result."""
    tell("")
    for line in lines:
        print(line, flush=True)


def write(path: Path | None, results: Mapping[str, object], cpu: int | None) -> None:
    """Write the JSON file that was asked for, if one was."""
    if path is None:
        return
    machine = {"platform": platform.platform(), "python": platform.python_version(), "pinned_to": cpu}
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path.write_text(json.dumps({"machine": machine, "time": when, **results}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())

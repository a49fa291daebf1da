"""The peak memory of batches: each size in a process of its own, with runs in memory and in a SQLite file.

``python -m benchmarks.batch_memory [SIZE…]``: one step for each item, 100 items under way at once, and each outcome
dropped once it has been looked at. Read from /proc, so it needs Linux.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.growth_flows import chain, server, stream
from stepflow_sdk.flows import parse_flow
from stepflow_sdk.runtime import LocalRuntime

SIZES = (10_000, 100_000, 1_000_000)
KINDS = {"memory": "in memory", "sqlite": "in SQLite"}


def run(kind: str, size: int) -> None:
    """Run one batch in this process, and print the kilobytes that it had at most."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state.db" if kind == "sqlite" else None
        with LocalRuntime(server, state=state) as runtime:
            stream(runtime, parse_flow(chain(1)), size)
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))


def peak(kind: str, size: int) -> float:
    """The megabytes that a batch of so many items takes at most, Python and everything else included."""
    command = [sys.executable, "-m", "benchmarks.batch_memory", kind, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout) / 1024


def main() -> None:
    """Print the table, or run one batch where one is named."""
    arguments = sys.argv[1:]
    if arguments[:1] and arguments[0] in KINDS:
        run(arguments[0], int(arguments[1]))
        return
    sizes = [int(size) for size in arguments] or SIZES
    print(f"| items | {' | '.join(f'{size:,}' for size in sizes)} |")
    print(f"|---|{'---:|' * len(sizes)}")
    for kind, title in KINDS.items():
        print(f"| {title} | {' | '.join(f'{peak(kind, size):.0f} MB' for size in sizes)} |", flush=True)


if __name__ == "__main__":
    main()

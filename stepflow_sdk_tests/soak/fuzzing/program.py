"""``python program.py TARGET FOLDER SECONDS``: fuzz one target, with atheris where it is installed.

The folder has the inputs to begin with in ``corpus``, where those that reach something new are put, and gets the inputs
that a target did not survive in ``finds``. The last lines that are printed say how many inputs there were.
"""

import importlib
import importlib.util
import random
import re
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

INPUT_SECONDS = 10
"""No input may take longer, on a busy machine."""

MOST_MEGABYTES = 500
"""A target needs less than 100: what keeps something of each input gets here soon."""

MOST_BYTES = 8192


def main() -> None:
    """Fuzz what the command line says."""
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    (folder / "finds").mkdir(exist_ok=True)
    if importlib.util.find_spec("atheris") is None:
        _guess(name, folder, seconds)
    else:
        _explore(name, folder, seconds)


def _explore(name: str, folder: Path, seconds: float) -> None:
    # It has no types, and is not everywhere.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["stepflow_sdk"], enable_loader_override=False):
        # Nothing of the package may have been imported before: it would not be seen.
        from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS
        from stepflow_sdk_tests.soak.fuzzing.words import dictionary
    (folder / "words").write_text(dictionary(), "ascii")
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-max_len={MOST_BYTES}",
        f"-dict={folder / 'words'}",
        f"-artifact_prefix={folder / 'finds'}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(folder / "corpus"), *options], TARGETS[name].check)
    atheris.Fuzz()


def _guess(name: str, folder: Path, seconds: float) -> None:
    """The same without an eye on what is reached: what there is to begin with, changed at random."""
    from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS
    from stepflow_sdk_tests.soak.fuzzing.words import WORDS

    check = TARGETS[name].check
    seeds = [path.read_bytes() for path in sorted((folder / "corpus").iterdir())]
    random_ = random.Random(time.time_ns())
    words = [word.encode() for word in WORDS]
    signal.signal(signal.SIGALRM, _too_long)
    until = time.monotonic() + seconds
    done, found = 0, False
    while not found and time.monotonic() < until:
        data = _changed(random_.choice(seeds), words, random_)
        signal.setitimer(signal.ITIMER_REAL, INPUT_SECONDS)
        try:
            check(data)
            found = _megabytes() > MOST_MEGABYTES
        except Exception:
            traceback.print_exc(file=sys.stdout)
            found = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        done += 1
        if found:
            (folder / "finds" / "find").write_bytes(data)
    print(f"stat::number_of_executed_units: {done}")
    print(f"stat::peak_rss_mb: {_megabytes()}")
    sys.exit(found)


def _changed(data: bytes, words: list[bytes], random_: random.Random) -> bytes:
    for _ in range(random_.randint(1, 4)):
        at = random_.randint(0, len(data))
        end = min(len(data), at + random_.choice([0, 0, 1, 4, 30]))
        other = random_.randint(0, len(data))
        put = random_.choice(
            [
                random_.choice(words),
                random_.randbytes(random_.randint(0, 3)),
                data[other : other + 30],
                data[at:end] * 50,
            ]
        )
        data = data[:at] + put + data[end:]
    return data[:MOST_BYTES]


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input took more than {INPUT_SECONDS} s")


def _megabytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * 1024 if sys.platform == "darwin" else 1024)
    if peak > MOST_MEGABYTES and sys.platform == "linux":
        # What the process was before it ran this program, a part of a large one, counts there and not here.
        (peak,) = map(int, re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text("ascii")))
        peak //= 1024
    return peak


if __name__ == "__main__":
    main()

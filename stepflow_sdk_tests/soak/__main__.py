"""``python -m stepflow_sdk_tests.soak [SECONDS] [--only NAME]``: run the long tests in turn and print a table."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence

from stepflow_sdk_tests.soak.form import FORMS
from stepflow_sdk_tests.soak.processes import adopt_orphans
from stepflow_sdk_tests.soak.supervisor import Result, Stopped, run_form, stopping_at_signals
from stepflow_sdk_tests.soak.table import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for: 1 when something was found, else 128 and the number of a signal that ended it, or 0."""
    options = _parse(arguments)
    names: list[str] = list(dict.fromkeys(options.only or FORMS))
    whole = sum(FORMS[name][1] for name in names)
    results: list[Result] = []
    code = 0
    adopt_orphans()
    try:
        with stopping_at_signals():
            for name in names:
                seconds = options.seconds * FORMS[name][1] / whole
                print(f"soak: {name} for {seconds:.0f} s", file=sys.stderr, flush=True)
                results.append(Result(name))
                command = [sys.executable, "-m", "stepflow_sdk_tests.soak.form", name, str(seconds)]
                run_form(results[-1], command, seconds)
    except Stopped as stopped:
        code = 128 + stopped.number
        print(f"soak: ended by {stopped}; what was done until then:", file=sys.stderr)
    print(*table(results, {name: told for name, (told, _) in FORMS.items()}), sep="\n", flush=True)
    return 1 if any(result.finds for result in results) else code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description="Run long tests, and print a table of what they counted. Exit code 1: something was found.",
        epilog="\n".join(_told()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seconds", nargs="?", type=_seconds, default=600.0, help="for all together (600)")
    parser.add_argument(
        "--only", action="append", choices=list(FORMS), metavar="NAME", help="only this one; may be said again"
    )
    return parser.parse_args(arguments)


def _told() -> Iterator[str]:
    yield "the long tests:"
    for name, (told, _) in FORMS.items():
        yield f"  {name:14}{told}"


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number of seconds is expected, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())

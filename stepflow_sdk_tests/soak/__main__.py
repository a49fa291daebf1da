"""``python -m stepflow_sdk_tests.soak [seconds] [--only NAME]``: run the soaks in turn and print a table."""

import argparse
import sys
import time
from collections.abc import Mapping

from stepflow_sdk_tests.soak.differential import differential
from stepflow_sdk_tests.soak.fuzzing.soak import fuzz
from stepflow_sdk_tests.soak.kills import kills
from stepflow_sdk_tests.soak.report import Report, Soak
from stepflow_sdk_tests.soak.requests import requests

SOAKS: Mapping[str, Soak] = {"differential": differential, "fuzz": fuzz, "kills": kills, "requests": requests}


def main() -> int:
    """Run what was asked for; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Run long tests, and count.")
    parser.add_argument("seconds", nargs="?", type=float, default=600.0, help="for each soak (%(default)s)")
    parser.add_argument("--only", action="append", choices=list(SOAKS), metavar="NAME", help=f"of {', '.join(SOAKS)}")
    options = parser.parse_args()
    reports: dict[str, tuple[float, Report]] = {}
    for name in options.only or SOAKS:
        began = time.monotonic()
        report = SOAKS[name](options.seconds)
        reports[name] = (time.monotonic() - began, report)
    for name, (took, report) in reports.items():
        print(f"\n{name}: {took:.0f} s, {len(report.finds)} finds")
        for line in (*report.counts, *report.finds):
            print(f"  {line}")
    return 1 if any(report.finds for _, report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Random flows on the bundled runtime and on a published orchestrator."""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

from stepflow_sdk_tests.interop.differential.cases import Case, cases
from stepflow_sdk_tests.interop.differential.comparison import Comparison, Different
from stepflow_sdk_tests.interop.differential.twins import open_twins
from stepflow_sdk_tests.interop.environments import InstallFailed, orchestrator_binary
from stepflow_sdk_tests.interop.network import open_network
from stepflow_sdk_tests.soak.report import Report

__all__ = ["differential"]

VERSION = "0.11.1"
_ROUND = 100
_STALLS = 20


def differential(seconds: float) -> Iterator[Report]:
    """Compare until the time is over; what differs is shrunk, and the next round has another seed."""
    try:
        orchestrator_binary(VERSION)
    except InstallFailed as error:
        yield Report(0, "flows", left_out=str(error))
        return
    began = time.monotonic()
    finds: list[str] = []
    with (
        open_network() as network,
        tempfile.TemporaryDirectory() as directory,
        open_twins(VERSION, network, Path(directory), sys.executable) as twins,
    ):
        comparison = Comparison(twins, stalls=_STALLS)
        number = time.time_ns()
        print(f"differential: the seeds start at {number}", flush=True)
        while time.monotonic() - began < seconds:
            try:
                _round(comparison, number)
            except Different as different:
                finds.append(f"seed {number}: {different}")
                print(finds[-1], flush=True)
            number += 1
            yield Report(comparison.cases, "flows", [line.strip() for line in comparison.table()][1:], finds)


def _round(comparison: Comparison, number: int) -> None:
    @seed(number)
    @settings(
        max_examples=_ROUND,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(cases())
    def compare(case: Case) -> None:
        comparison.check(case)

    compare()

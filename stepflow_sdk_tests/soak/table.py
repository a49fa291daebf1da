"""What a soak came to, for people."""

from collections.abc import Iterator, Mapping, Sequence

from stepflow_sdk_tests.soak.supervisor import Result

__all__ = ["table"]

_HEAD = ("what", "time", "how many", "violations", "verdict")
_LONGEST_FIND = 2000


def table(results: Sequence[Result], told: Mapping[str, str]) -> Iterator[str]:
    """The lines of the table: a row for each long test with its figures below it, and then what was wrong.

    Args:
        results: What there is.
        told: What each test does, by its name.
    """
    rows = [_HEAD, *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    yield rule
    yield _line(_HEAD, widths)
    yield rule
    for result, row in zip(results, rows[1:], strict=True):
        yield _line(row, widths)
        yield f"    {told[result.name]}"
        for figure in () if result.report is None else result.report.figures:
            yield f"    - {figure}"
    yield rule
    for result in results:
        for number, find in enumerate(result.finds, 1):
            yield f"{result.name}, violation {number}: {find[:_LONGEST_FIND]}"
    yield _summary(results)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(result: Result) -> tuple[str, ...]:
    report = result.report
    count = "-" if report is None else f"{report.total:,} {report.unit}"
    return result.name, f"{result.seconds:.0f} s", count, str(len(result.finds)), _verdict(result)


def _verdict(result: Result) -> str:
    if result.finds:
        return "VIOLATED"
    if result.stopped:
        return "stopped, held so far" if result.report is not None else "stopped"
    if result.report is None:
        return "nothing told"
    return f"left out: {result.report.left_out}" if result.report.left_out else "held"


def _summary(results: Sequence[Result]) -> str:
    finds = sum(len(result.finds) for result in results)
    took = sum(result.seconds for result in results)
    said = f"{finds} violation{'' if finds == 1 else 's'}" if finds else "no violations"
    return f"{len(results)} long test{'' if len(results) == 1 else 's'}, {took:.0f} s, {said}"

"""Waits with one timer for all of them."""

import asyncio

from stepflow_sdk.transports.deadlines import Deadlines


class Waits:
    """A list of what has expired, and an event for the last of it."""

    def __init__(self, count: int) -> None:
        self.expired: list[int] = []
        self.all_expired = asyncio.Event()
        self._count = count

    def expire(self, number: int) -> None:
        self.expired.append(number)
        if len(self.expired) == self._count:
            self.all_expired.set()


async def test_what_is_not_dropped_expires_in_its_order() -> None:
    waits = Waits(3)
    deadlines = Deadlines(waits.expire)
    for number, seconds in enumerate([0.06, 0.02, 0.04, 0.0]):
        deadlines.add(number, seconds)
    deadlines.drop(2)
    await asyncio.wait_for(waits.all_expired.wait(), 60)
    assert waits.expired == [3, 1, 0]


async def test_waits_that_end_one_after_the_other_share_the_looks_at_them() -> None:
    loop = asyncio.get_running_loop()
    count, seconds = 2000, 0.2
    waits = Waits(count)
    deadlines = Deadlines(waits.expire)
    looks = 0
    call_at = loop.call_at

    def counting(*arguments: object, **options: object) -> asyncio.TimerHandle:
        nonlocal looks
        looks += 1
        return call_at(*arguments, **options)  # type: ignore[arg-type]  # whatever it was given

    loop.call_at = counting  # type: ignore[method-assign]  # this loop is this test's alone
    for number in range(count):
        deadlines.add(number, seconds * number / count)
    await waits.all_expired.wait()
    assert waits.expired == list(range(count))
    # With a look for each it would be more than a thousand.
    assert looks <= seconds / 0.01 + 5


async def test_nothing_expires_once_it_is_closed() -> None:
    waits = Waits(1)
    deadlines = Deadlines(waits.expire)
    deadlines.add(1, 0)
    deadlines.close()
    later = Waits(1)
    Deadlines(later.expire).add(1, 0)
    await asyncio.wait_for(later.all_expired.wait(), 60)
    assert waits.expired == []


async def test_whoever_is_told_of_one_end_may_drop_others_that_are_due() -> None:
    told: list[str] = []
    all_told = asyncio.Event()

    def expire(what: str) -> None:
        told.append(what)
        deadlines.drop("second")
        if what == "last":
            all_told.set()

    deadlines = Deadlines(expire)
    for what in ("first", "second", "third"):
        deadlines.add(what, 0.0)
    deadlines.add("last", 0.02)
    await asyncio.wait_for(all_told.wait(), 60)
    assert told == ["first", "third", "last"]

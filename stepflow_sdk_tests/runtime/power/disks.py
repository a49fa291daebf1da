"""What a disk may hold after a power cut, from the calls that a program made before it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from stepflow_sdk_tests.runtime.power.syscalls import Call

_SECTORS: Final = {"torn at 512": 512, "torn at 4096": 4096}
WAYS: Final = ("nothing", "everything", "beginning", "some", *_SECTORS)
"""What has become of that which was written and not flushed."""

# The index of a log is made anew after a power cut, and a lock has no content that counts.
_PASSING: Final = ("-shm", ".lock")


class _Change(NamedTuple):
    """Bytes that were written from a place on, or without any, the length that a file was cut to."""

    place: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        end = self.place + len(self.data or b"")
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if self.data is None:
            del content[self.place :]
        else:
            content[self.place : end] = self.data


@dataclass
class _File:
    safe: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, _Change]] = field(default_factory=list[tuple[int, _Change]])

    def flush(self, began: int) -> None:
        """What was there when a flush began is safe when it has ended."""
        for ended, change in self.waiting:
            if ended < began:
                change.apply(self.safe)
        self.waiting = [(ended, change) for ended, change in self.waiting if ended > began]


class Disk:
    """A folder on a disk that keeps its word about what is flushed, and promises nothing of what is not.

    A file has its content when it was flushed, and its name when the folder was. The changes of names come onto the
    disk in their order, as file systems with a journal have it; those of contents come in any.

    Args:
        folder: What is on the disk, all of it for sure, before the first call.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._names: dict[str, _File] = {
            file.name: _File(bytearray(file.read_bytes())) for file in folder.iterdir() if _counts(file.name)
        }
        self._safe_names = dict(self._names)
        self._waiting_names: list[tuple[str, str, _File | None]] = []

    def play(self, call: Call) -> None:
        """Do what a call did."""
        if call.name == "sync" and call.path == self._folder:
            for old, new, file in self._waiting_names:
                _rename(self._safe_names, old, new, file)
            self._waiting_names = []
            return
        name = Path(call.path).name
        if call.name == "send" or not _counts(name):
            return
        if call.name == "create":
            self._name("", name, _File())
        elif call.name == "rename":
            self._name(name, Path(call.target).name, self._names[name])
        elif call.name == "unlink":
            self._name(name, "", None)
        elif name not in self._names:
            pass  # it has no name any more, and is not there after a power cut
        elif call.name == "sync":
            self._names[name].flush(call.began)
        else:
            change = _Change(call.place, call.data if call.name == "write" else None)
            self._names[name].waiting.append((call.ended, change))

    def _name(self, old: str, new: str, file: _File | None) -> None:
        _rename(self._names, old, new, file)
        self._waiting_names.append((old, new, file))

    def after_power_cut(self, chance: random.Random, way: str) -> dict[str, bytes]:
        """The files that may be found, and their contents."""
        names = dict(self._safe_names)
        count = len(self._waiting_names)
        kept = {"nothing": 0, "everything": count}.get(way, chance.randint(0, count))
        for old, new, file in self._waiting_names[:kept]:
            _rename(names, old, new, file)
        found: dict[str, bytes] = {}
        for name, known in names.items():
            content = bytearray(known.safe)
            for change in _survivors([change for _, change in known.waiting], chance, way):
                change.apply(content)
            found[name] = bytes(content)
        return found


def _counts(name: str) -> bool:
    return not name.endswith(_PASSING)


def _rename(names: dict[str, _File], old: str, new: str, file: _File | None) -> None:
    names.pop(old, None)
    if file is not None:
        names[new] = file


def _survivors(changes: Sequence[_Change], chance: random.Random, way: str) -> Sequence[_Change]:
    if way == "nothing":
        return []
    if way == "everything":
        return changes
    if way == "beginning":
        return changes[: chance.randint(0, len(changes))]
    if way in _SECTORS:
        changes = [piece for change in changes for piece in _torn(change, _SECTORS[way])]
    share = chance.choice((0.1, 0.5, 0.9))
    return [change for change in changes if chance.random() < share]


def _torn(change: _Change, sector: int) -> Sequence[_Change]:
    """A write as the disk makes it: a sector at a time."""
    place, data = change
    if data is None:
        return [change]
    starts = [0, *range(sector - place % sector, len(data), sector)]
    return [
        _Change(place + start, data[start:end]) for start, end in zip(starts, [*starts[1:], len(data)], strict=True)
    ]

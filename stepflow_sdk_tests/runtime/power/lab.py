"""Programs that are recorded one after the other, and power cuts while the last of them runs."""

import signal
import subprocess
import sys
from pathlib import Path

from stepflow_sdk_tests.runtime.power.cuts import Cuts, Promises, cut_often, played
from stepflow_sdk_tests.runtime.power.disks import Disk
from stepflow_sdk_tests.runtime.power.syscalls import Call, recorded, traced

PROGRAM = [sys.executable, "-m", "stepflow_sdk_tests.runtime.power.program"]


class Lab:
    """A folder with a state file, what is on the disk of it for sure, and what has been promised about it."""

    def __init__(self, around: Path) -> None:
        self.folder = around / "disk"
        self.folder.mkdir()
        self._disk = Disk(self.folder)
        self._promises = Promises()
        self._calls: list[Call] = []
        self._record = around / "record"
        self._found = around / "found"

    def run(self, *arguments: str, kill_at: int = 0) -> None:
        """Run the program, after those that were run before."""
        command = [*PROGRAM, str(self.folder / "state.db"), *arguments]
        done = subprocess.run(
            traced(self._record, self.folder, *command, kill_at=kill_at), capture_output=True, text=True, check=False
        )
        assert done.returncode == (128 + signal.SIGKILL if kill_at else 0), done.stderr
        # What a program that has ended did not flush is in the memory of the machine, and lost with the power.
        for _ in played(self._disk, self._calls, [len(self._calls)], self._promises):
            pass
        began = self._calls[-1].ended if self._calls else 0
        self._calls = recorded(self._record, after=began)

    async def cut(self, count: int, seed: int = 1) -> Cuts:
        """Cut the power so often while the last program runs, each time as if it had not been cut before."""
        return await cut_often(self._calls, self._disk, self._promises, self._found, count=count, seed=seed)

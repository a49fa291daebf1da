"""What a process writes to its outputs, passed on as text to somebody who cannot bear anything else."""

import codecs
import faulthandler
import os
import threading
from contextlib import suppress

__all__ = ["OutputRelay"]

_CHUNK = 64 * 1024


class OutputRelay:
    """Puts descriptors 1 and 2 on a pipe of this process, and writes what comes out of it, as UTF-8, where 2 went.

    The published runtimes stop reading the outputs of a server, and close them, at the first line that is not UTF-8;
    from then on every writer in the process and its children gets a broken pipe. Behind a relay neither can happen:
    what is not text goes out as U+FFFD, and what nobody reads any more is dropped.
    """

    def __init__(self) -> None:
        self._target = os.dup(2)
        self._source, entrance = os.pipe()
        os.dup2(entrance, 1)
        os.dup2(entrance, 2)
        os.close(entrance)
        if faulthandler.is_enabled():
            # What a dying process says must not wait for a thread of it.
            faulthandler.enable(file=self._target)
        self._thread = threading.Thread(target=self._pass_on, name="stepflow-output", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Put 1 and 2 back to where 2 went before, and pass on what was written, for at most ``timeout`` seconds.

        Children that still write keep the relay, which ends with the process.
        """
        os.dup2(self._target, 1)
        os.dup2(self._target, 2)
        self._thread.join(timeout)

    def _pass_on(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        listening = True
        while chunk := os.read(self._source, _CHUNK):
            if listening:
                listening = self._write(decoder.decode(chunk))
        if listening:
            self._write(decoder.decode(b"", final=True))
        os.close(self._source)

    def _write(self, text: str) -> bool:
        data = text.encode()
        with suppress(OSError):
            while data:
                data = data[os.write(self._target, data) :]
            return True
        return False

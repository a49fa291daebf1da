"""Values that components hand to and take from a runtime, by the rules of inputs and outputs."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from stepflow_sdk.components.annotations import Scope
from stepflow_sdk.components.kinds import Anything
from stepflow_sdk.components.reader import Reader, fast_decoder
from stepflow_sdk.components.recognition import Recognizer
from stepflow_sdk.components.writer import make_writer
from stepflow_sdk.errors import ComponentError, InvalidInput, InvalidValue

__all__ = ["JsonValues"]

_MOST_READERS: Final = 1000


class JsonValues:
    """Encodes any value that a component may return, and decodes JSON into any type that it may take."""

    def __init__(self) -> None:
        self._write = make_writer(Anything(), Any)
        self._readers: dict[Any, Callable[[Any], Any]] = {}

    def encode(self, value: Any) -> bytes:
        """Return a value as JSON.

        Raises:
            InvalidValue: It has no JSON form; every wrong path is named.
        """
        try:
            return self._write(value)
        except ComponentError as error:
            raise InvalidValue(error.message, data=error.data) from error

    def decode(self, raw: msgspec.Raw, type: Any) -> Any:
        """Return JSON as a value of a type.

        Raises:
            InvalidValue: It does not fit the type; every wrong path is named.
            InvalidSignature: The type is none that a component could take.
        """
        try:
            read = self._readers[type]
        except KeyError:
            read = _reader(type)
            # Types may be made anew for each call.
            if len(self._readers) >= _MOST_READERS:
                self._readers.clear()
            self._readers[type] = read
        except TypeError:  # an annotation may hold what cannot be a key
            read = _reader(type)
        try:
            return read(raw)
        except InvalidInput as error:
            raise InvalidValue(error.message, data=error.data) from error


def _reader(type: Any) -> Callable[[Any], Any]:
    kind = Recognizer(Scope()).kind(type)
    return Reader(kind, fast_decoder(kind, lambda: type)).read

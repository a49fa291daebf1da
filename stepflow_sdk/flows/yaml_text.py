"""Reads YAML text into JSON values by the rules of upstream's reader (annex 2 of the flow format)."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from stepflow_sdk.flows.canonical import canonical_json
from stepflow_sdk.flows.source import Document, Duplicate, Place, unreadable
from stepflow_sdk.flows.values import MAX_DEPTH, MAX_NODES, Json, PathParts, ValueKey, describe
from stepflow_sdk.flows.yaml_scalars import read_scalar

_CORE: Final = "tag:yaml.org,2002:"
_SCALAR_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}

KeyRule: TypeAlias = Callable[[PathParts], bool]
"""Whether the keys of the mapping at a path are values of any kind."""


def parse_yaml(
    text: str | bytes, *, file: str | None = None, value_keys: KeyRule | None = None, max_nodes: int = MAX_NODES
) -> Document:
    """Read YAML text: one document, whose values become JSON values.

    Plain scalars are read as `read_scalar` tells. Keys become their text, ``<<`` is a key like any other, and of
    a repeated key the last value counts (`Document.duplicates` lists them). Anchors and aliases work; what they
    expand to is bounded. No text, or only comments, is null.

    Args:
        text: The text.
        file: What messages call it.
        value_keys: Told the path of a mapping, says whether its keys are values, which may then be collections: they
            become `ValueKey`. By default no mapping has such keys.
        max_nodes: How many values it may hold once its aliases are written out, by default a million.

    Raises:
        InvalidDocument: It is not YAML or not UTF-8; it holds several documents, a tag other than the core ones, a
            key that is a collection, an integer beyond 64 bits, an alias to nothing or to what contains it; it is
            nested deeper than 128 levels, or holds too many values.
    """
    import yaml

    source = _decoded(text, file)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(file, max_nodes, value_keys)
    try:
        node = builder.document(iter(yaml.parse(source, Loader=loader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise unreadable(f"not YAML: {said}", file=file, line=line, column=column) from None
    except yaml.reader.ReaderError as error:
        # Its position counts bytes or characters, by the reader; the first such character is the one that is meant.
        character = error.character if isinstance(error.character, str) else chr(error.character)
        line = source.count("\n", 0, max(0, source.find(character))) + 1
        said = f"the character U+{ord(character):04X} must not stand in YAML as it is"
        raise unreadable(f"not YAML: {said}", file=file, line=line) from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise unreadable(f"not YAML: {said[:200]}", file=file) from None
    return Document(node.value, file=file, find_places=lambda: node.place, duplicates=tuple(builder.duplicates))


def _decoded(text: str | bytes, file: str | None) -> str:
    try:
        if isinstance(text, bytes):
            return text.decode("utf-8-sig")
        text.encode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise unreadable(f"not UTF-8 at byte {error.start}", file=file, line=line) from None
    except UnicodeEncodeError:
        raise unreadable("the text holds half a surrogate pair, which is not Unicode", file=file) from None
    return text.removeprefix("\ufeff")


class _Node(NamedTuple):
    value: Json
    place: Place
    text: str | None  # of a scalar, for keys
    size: int = 1  # how many values it is once aliases are written out
    height: int = 0  # levels of containers in it


class _Builder:
    """Makes values from the parser's events: so nothing is built that is then refused for its depth or size."""

    def __init__(self, file: str | None, most: int, value_keys: KeyRule | None) -> None:
        self._file = file
        self._most = most
        self._value_keys = value_keys
        self._size = 0
        self._anchors: dict[str, _Node | None] = {}
        self._events: Iterator[Any] = iter(())
        self.duplicates: list[Duplicate] = []

    def document(self, events: Iterator[Any]) -> _Node:
        self._events = events
        next(events)  # the start of the stream
        start = next(events)
        if _is(start, "StreamEnd"):
            return _Node(None, Place(1, 1), "")
        node = self._node(next(events), (), 0)
        next(events)  # the end of the document
        after = next(events)
        if not _is(after, "StreamEnd"):
            self._refuse("a second document starts here; write one document in a file", after)
        return node

    def _node(self, event: Any, path: PathParts, depth: int) -> _Node:
        if _is(event, "Alias"):
            return self._alias(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._grow(1, event)
        if _is(event, "Scalar"):
            node = _Node(self._scalar(event), _place(event), event.value)
        else:
            if depth >= MAX_DEPTH:
                self._refuse(f"nested deeper than {MAX_DEPTH} levels", event)
            is_mapping = _is(event, "MappingStart")
            if event.tag not in (None, "!", f"{_CORE}map" if is_mapping else f"{_CORE}seq"):
                self._refuse_tag(event)
            before = self._size
            build = self._mapping if is_mapping else self._sequence
            value, height = build(place := _place(event), path, depth + 1)
            node = _Node(value, place, None, self._size - before + 1, height + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, place: Place, path: PathParts, depth: int) -> tuple[Json, int]:
        items: list[Json] = []
        height = 0
        while not _is(event := next(self._events), "SequenceEnd"):
            node = self._node(event, (*path, len(items)), depth)
            place.children[len(items)] = node.place
            items.append(node.value)
            height = max(height, node.height)
        return items, height

    def _mapping(self, place: Place, path: PathParts, depth: int) -> tuple[Json, int]:
        fields: dict[str, Json] = {}
        height = 0
        read_key = self._value_key if self._value_keys is not None and self._value_keys(path) else self._key
        while not _is(event := next(self._events), "MappingEnd"):
            key, at = read_key(event), _place(event)
            node = self._node(next(self._events), (*path, key), depth)
            if key in fields:
                self.duplicates.append(Duplicate((*path, key), place.children[key].line, at.line))
            at.children = node.place.children
            place.children[key] = at
            fields[key] = node.value
            height = max(height, node.height)
        return fields, height

    def _key(self, event: Any) -> str:
        text = self._node(event, (), 0).text if _is(event, "Scalar") or _is(event, "Alias") else None
        if text is None:
            self._refuse("a key is a mapping or a list; keys are text", event)
        return text

    def _value_key(self, event: Any) -> str:
        # A key has no place of its own in paths, and what stands in it is seen by no rule about keys.
        rule, self._value_keys = self._value_keys, None
        value = self._node(event, (), 0).value
        self._value_keys = rule
        return ValueKey(canonical_json(value).decode(), value)

    def _alias(self, event: Any, depth: int) -> _Node:
        if event.anchor not in self._anchors:
            known = ", ".join(f"&{name}" for name in list(self._anchors)[:10])
            self._refuse(f"the alias *{event.anchor} has no anchor before it (there is: {known or 'none'})", event)
        node = self._anchors[event.anchor]
        if node is None:
            self._refuse(f"the alias *{event.anchor} stands inside of what it names", event)
        if depth + node.height > MAX_DEPTH:
            self._refuse(f"nested deeper than {MAX_DEPTH} levels by the alias *{event.anchor}", event)
        self._grow(node.size, event)
        place = _place(event)
        place.children = node.place.children
        return node._replace(place=place)

    def _grow(self, size: int, event: Any) -> None:
        self._size += size
        if self._size > self._most:
            written = ", once its aliases are written out" if size > 1 else ""
            self._refuse(f"the document holds more than {self._most:,} values{written}", event)

    def _scalar(self, event: Any) -> Json:
        if event.tag is None:
            return self._read(event) if event.implicit[0] else event.value
        name = event.tag.removeprefix(_CORE) if event.tag.startswith(_CORE) else ""
        if name == "str" or event.tag == "!":
            return event.value
        if name not in _SCALAR_TYPES:
            self._refuse_tag(event)
        value: Any = self._read(event)
        if type(value) not in _SCALAR_TYPES[name]:
            self._refuse(f"!!{name} stands before {describe(value)}", event)
        return float(value) if name == "float" else value

    def _read(self, event: Any) -> Json:
        try:
            return read_scalar(event.value)
        except ValueError as error:
            self._refuse(str(error), event)

    def _refuse_tag(self, event: Any) -> NoReturn:
        tag = event.tag.replace(_CORE, "!!")[:60]
        self._refuse(f"unknown tag {tag}; only !!str, !!int, !!float, !!bool, !!null, !!seq and !!map are", event)

    def _refuse(self, message: str, event: Any) -> NoReturn:
        place = _place(event)
        raise unreadable(message, file=self._file, line=place.line, column=place.column)


def _is(event: object, kind: str) -> bool:
    return type(event).__name__ == f"{kind}Event"


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)

"""Writes a changed value into the text of its document, and leaves the rest of the text as it is."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows.canonical import canonical_json
from stepflow_sdk.flows.rewriting import json_text
from stepflow_sdk.flows.values import Json, is_array, is_mock_behaviors, is_object
from stepflow_sdk.flows.yaml_dump import dump_yaml, flow_yaml
from stepflow_sdk.flows.yaml_spans import Span, read_spans
from stepflow_sdk.flows.yaml_text import parse_yaml

__all__ = ["edit_text"]

_WIDE: Final = 100


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def edit_text(text: str, value: Json, *, is_json: bool) -> tuple[str, bool]:
    """Make a text stand for another value.

    Of YAML, what stays the same keeps its comments and its style; where that is not possible the whole is written anew.
    JSON is written anew with the indentation that it had.

    Args:
        text: A document that can be read.
        value: What it is to be read as, but for the order of keys.
        is_json: Whether it is JSON or YAML.

    Returns:
        The new text, and whether its layout was kept.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix("\ufeff")
    if is_json:
        return mark + json_text(body, value), True
    try:
        edited = _Editor(body).edit(parse_yaml(body, value_keys=is_mock_behaviors).value, value)
        # Aliases, and whatever else was not thought of.
        is_same = canonical_json(_ordered(_read(edited))) == canonical_json(_ordered(value))
    except InvalidDocument:
        is_same, edited = False, ""
    return (mark + edited, True) if is_same else (mark + dump_yaml(value), False)


def _read(text: str) -> Json:
    return parse_yaml(text, value_keys=is_mock_behaviors).value


def _ordered(value: Json) -> Json:
    if is_array(value):
        return [_ordered(item) for item in value]
    return {key: _ordered(value[key]) for key in sorted(value)} if is_object(value) else value


class _Editor:
    def __init__(self, text: str) -> None:
        self._text = text
        self._break = "\r\n" if "\r\n" in text else "\n"
        self._edits: list[_Edit] = []

    def edit(self, old: Json, new: Json) -> str:
        self._change(old, new, read_spans(self._text), None)
        text = self._text
        # From the end, so that the places before an edit stay what they are.
        for edit in sorted(self._edits, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text

    def _change(self, old: Json, new: Json, span: Span, key: Span | None) -> None:
        if canonical_json(old) == canonical_json(new):
            return
        if span.is_block and is_object(old) and is_object(new) and set(old) & set(new):
            self._change_mapping(old, new, span)
        elif span.is_block and is_array(old) and is_array(new) and len(old) == len(new) == len(span.items):
            for before, after, item in zip(old, new, span.items, strict=True):
                self._change(before, after, item, None)
        else:
            self._replace(new, span, key)

    def _replace(self, new: Json, span: Span, key: Span | None) -> None:
        written = flow_yaml(new)
        if key is None or not span.is_block:
            self._edits.append(_Edit(span.start, span.end, written))
            return
        # What was a block of lines below its key stands behind the key now, if it is short.
        colon = self._text.index(":", key.end) + 1
        if len(written) + key.column > _WIDE:
            written = f"{self._break}{self._block(new, key.column + 2)}"
            self._edits.append(_Edit(colon, span.end, written))
        else:
            self._edits.append(_Edit(colon, span.end, f" {written}"))

    def _change_mapping(self, old: Mapping[str, Json], new: Mapping[str, Json], span: Span) -> None:
        kept = [name for name in old if name in new]
        for name in old:
            if name in new:
                key, value = span.fields[name]
                self._change(old[name], new[name], value, key)
            else:
                self._remove(name, list(old), span)
        names = list(new)
        for index, name in enumerate(names):
            if name not in old:
                behind = next((each for each in names[index:] if each in old), None)
                self._add({name: new[name]}, behind, kept[-1], span)

    def _remove(self, name: str, names: list[str], span: Span) -> None:
        key, value = span.fields[name]
        begin = self._text.rfind("\n", 0, key.start) + 1
        if not self._text[begin : key.start].strip():
            self._edits.append(_Edit(begin, self._line_end(value.end), ""))
            return
        # It shares its line with the dash of a list.
        behind = names[names.index(name) + 1 :]
        if behind:
            self._edits.append(_Edit(key.start, span.fields[behind[0]][0].start, ""))

    def _add(self, field: dict[str, Any], behind: str | None, last: str, span: Span) -> None:
        first = next(iter(span.fields.values()))[0]
        written = self._block(field, first.column)
        if behind is not None:
            key = span.fields[behind][0]
            begin = self._text.rfind("\n", 0, key.start) + 1
            if not self._text[begin : key.start].strip():
                self._edits.append(_Edit(begin, begin, written + self._break))
                return
        end = self._line_end(span.fields[last][1].end)
        is_open = self._text[end - 1 : end] != "\n"
        self._edits.append(_Edit(end, end, self._break + written if is_open else written + self._break))

    def _line_end(self, index: int) -> int:
        """Behind the end of the line, with the comment in it, that a value ends in."""
        if self._text[index - 1 : index] == "\n":
            return index
        end = self._text.find("\n", index)
        return len(self._text) if end < 0 else end + 1

    def _block(self, value: Json, column: int) -> str:
        lines = dump_yaml(value).splitlines()
        return self._break.join(line and " " * column + line for line in lines)

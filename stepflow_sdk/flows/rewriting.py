"""Writes the outputs of test cases into the text of a flow, and leaves the rest of the text as it is."""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from stepflow_sdk.flows.canonical import canonical_json
from stepflow_sdk.flows.json_text import parse_json
from stepflow_sdk.flows.source import Document, unreadable
from stepflow_sdk.flows.values import Json, is_mock_behaviors
from stepflow_sdk.flows.yaml_dump import dump_yaml
from stepflow_sdk.flows.yaml_spans import Span, read_spans
from stepflow_sdk.flows.yaml_text import parse_yaml

__all__ = ["json_text", "replace_outputs"]

# JSON allows these in a string as they are; in YAML they are line breaks or not text at all.
_NOT_IN_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_INDENT: Final = re.compile(r"\n([ \t]+)\S")


def replace_outputs(text: str, outputs: Mapping[int, Json], *, is_json: bool) -> str:
    """Set the ``output`` of test cases in the text of a flow document (section a.5 of the flow format).

    Of YAML only the lines of the outputs change: comments, order and style of everything else stay. JSON is written
    anew, with the indentation that it had.

    Args:
        text: A flow document whose ``test`` section has these cases.
        outputs: By the index of the case: what it is to expect.
        is_json: Whether it is JSON or YAML.

    Returns:
        The new text, which reads as the same document but for these outputs.

    Raises:
        InvalidDocument: The text cannot be changed in place, such as cases that are written as YAML aliases.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix("\ufeff")
    read: Callable[[str], Document] = parse_json if is_json else partial(parse_yaml, value_keys=is_mock_behaviors)
    wanted = read(body).value
    for index, output in outputs.items():
        # A copy for each case: two of them may be one object, by an alias.
        wanted["test"]["cases"][index] = {**wanted["test"]["cases"][index], "output": output}
    changed = json_text(body, wanted) if is_json else _yaml_text(body, outputs)
    if canonical_json(read(changed).value) != canonical_json(wanted):
        raise unreadable("the outputs of its cases cannot be replaced without changing something else", file=None)
    return mark + changed


def json_text(text: str, value: Json) -> str:
    """Write a value as JSON, with the indentation that a text has."""
    indent = _INDENT.search(text)
    written = json.dumps(value, ensure_ascii=False, indent=indent[1] if indent else None)
    return written + ("\n" if text.endswith("\n") else "")


# ---- YAML ---------------------------------------------------------------------------------------------------------


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def _yaml_text(text: str, outputs: Mapping[int, Json]) -> str:
    root = read_spans(text)
    test = root.fields.get("test", (None, root))[1]
    cases = test.fields.get("cases", (None, test))[1].items
    edits: list[_Edit] = []
    for index, output in outputs.items():
        if index >= len(cases) or not cases[index].fields:
            raise unreadable(f"test case {index} is not written out at its place, so it cannot be updated", file=None)
        edits.append(_edit(text, cases[index], output))
    # From the end, so that the places before an edit stay what they are.
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edit(text: str, case: Span, output: Json) -> _Edit:
    """What sets the output of one case."""
    there = case.fields.get("output")
    if not case.is_block:
        written = _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(output, ensure_ascii=False))
        if there is not None:
            return _Edit(there[1].start, there[1].end, f" {written}" if there[1].start == there[0].end else written)
        end = max(value.end for _, value in case.fields.values())
        return _Edit(end, end, f", output: {written}")
    line_break = "\r\n" if "\r\n" in text else "\n"
    column = next(iter(case.fields.values()))[0].column
    lines = [line and " " * (column + 2) + line for line in dump_yaml(output).splitlines()]
    block = line_break.join(["output:", *lines])
    if there is not None:
        return _Edit(there[0].start, max(there[0].end + 1, there[1].end), block)
    # Behind the comment that the line of the last field may end with.
    last = max(value.end for _, value in case.fields.values())
    if text[last - 1] == "\n":
        return _Edit(last, last, " " * column + block + line_break)
    end = text.find("\n", last)
    end = len(text) if end < 0 else end - (text[end - 1] == "\r")
    return _Edit(end, end, line_break + " " * column + block)

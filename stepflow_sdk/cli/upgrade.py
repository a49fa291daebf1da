"""``upgrade``: rewrites a flow of 0.7 or 0.8 in the language of 0.9.

The new document goes to stdout, to --output, or with --write into the file itself. What is found goes to stderr, with
file, line and JSON path: errors for what would mean something else, warnings for what went without a loss. After an
error nothing is written, unless --force says so.
A flow means the same when each run that ended without a failure has the same outcome and runs the same steps, and each
that failed still fails. Of YAML, comments and style stay where nothing changes.
The exit code is 0 when the document was written, or is in the language of 0.9 already; 1 when it was not written; 2 for
a wrong command line.
"""

from pathlib import Path

from stepflow_sdk.cli.arguments import Options, Parser, UsageError
from stepflow_sdk.cli.findings import as_findings, as_line
from stepflow_sdk.cli.output import Output, as_json, check_writable, replace_file, say
from stepflow_sdk.errors import InvalidDocument, InvalidFlow
from stepflow_sdk.flows import Document, ValueKey, dump_yaml, is_mock_behaviors, read_document
from stepflow_sdk.flows.editing import edit_text
from stepflow_sdk.flows.upgrade import Upgrade, upgrade_flow
from stepflow_sdk.flows.values import Json, is_array, is_object

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("file", metavar="FLOW", nargs="?", help="the flow, a .yaml, .yml or .json file (needed)")
    group = parser.add_argument_group("where it goes")
    group.add_argument("-o", "--output", metavar="FILE", help="a .yaml, .yml or .json file (default: stdout)")
    group.add_argument("--write", action="store_true", help="change the file itself")
    parser.add_argument("--force", action="store_true", help="write it although it means something else")
    parser.add_argument("--json", action="store_true", help="tell what was found as one JSON object on stdout")
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Rewrite the flow and return the exit code."""
    file: str = options.parser.need(options, "file", "FLOW")
    target = _target(options, file)
    try:
        document = read_document(file, value_keys=is_mock_behaviors)
    except InvalidDocument as error:
        raise UsageError(f"upgrade: {error}") from None
    try:
        upgrade = upgrade_flow(document)
    except InvalidFlow as error:
        if options.json:
            output.write(as_json({"kept": False, "written": False, "diagnostics": error.diagnostics}))
        raise
    is_written = upgrade.is_kept or options.force
    _tell(options, output, file, upgrade, is_written=is_written)
    if not is_written:
        return 1
    is_new = upgrade.document is document.value
    if is_new and not options.json:
        say(f"{file}: this is the language of 0.9 already")
    if is_new and options.write:
        return 0
    text = _text(file, document, upgrade.document, target)
    if target is not None:
        replace_file(Path(target), text, "--write" if options.write else "--output")
    elif not options.json:
        output.write(text)
    return 0


def _target(options: Options, file: str) -> str | None:
    if options.write and options.output is not None:
        raise UsageError("--write changes the file itself and --output makes another; give one of them")
    if options.output is not None and not options.output.lower().endswith((".yaml", ".yml", ".json")):
        raise UsageError(f"--output {options.output}: a flow is a .yaml, .yml or .json file")
    check_writable(options.output)
    return file if options.write else options.output


def _tell(options: Options, output: Output, file: str, upgrade: Upgrade, *, is_written: bool) -> None:
    findings = as_findings(upgrade.findings)
    if options.json:
        told = {"kept": upgrade.is_kept, "written": is_written, "diagnostics": findings}
        if is_written and not options.write and options.output is None:
            told["document"] = upgrade.document
        output.write(as_json(told))
        return
    for finding in findings:
        say(as_line(finding, file))
    if not is_written:
        count = sum(finding["level"] == "error" for finding in findings)
        places = "1 place" if count == 1 else f"{count} places"
        say(f"{file}: not written, for it would mean something else in {places}; --force writes it all the same")


def _text(file: str, document: Document, upgraded: Json, target: str | None) -> str:
    was_json = file.lower().endswith(".json")
    is_json = was_json if target is None else target.lower().endswith(".json")
    if upgraded is document.value and was_json == is_json:
        return _read(file)
    if was_json != is_json:
        if is_json and _has_value_keys(upgraded):
            raise UsageError("upgrade: the flow has mock components whose inputs are no keys of JSON; write it as YAML")
        return as_json(upgraded) if is_json else dump_yaml(upgraded)
    text, is_kept = edit_text(_read(file), upgraded, is_json=is_json)
    if not is_kept:
        say(f"{file}: comments and style are lost: aliases, or a layout like this, cannot be changed in parts")
    return text


def _has_value_keys(value: Json) -> bool:
    if is_array(value):
        return any(map(_has_value_keys, value))
    return is_object(value) and any(isinstance(key, ValueKey) or _has_value_keys(value[key]) for key in value)


def _read(file: str) -> str:
    try:
        # Without a translation of line ends, which are to stay what they are.
        return Path(file).read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"upgrade: {file}: cannot be read: {error.strerror or error}") from None

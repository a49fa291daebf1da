"""``list-components``: lists components.

Every component is shown under the paths that flows reach it by. Servers are started for it.
"""

from typing import Any

from stepflow_sdk.cli.arguments import Options, Parser, add_target
from stepflow_sdk.cli.loop import run_to_end
from stepflow_sdk.cli.output import Output, as_json, as_yaml
from stepflow_sdk.cli.targets import make_runtime
from stepflow_sdk.cli.terminal import as_table
from stepflow_sdk.protocol.messages import ComponentInfo
from stepflow_sdk.runtime import LocalRuntime

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("--flow", metavar="FILE", help="look for the configuration beside this flow")
    add_target(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--format", choices=["pretty", "json", "yaml"], default="pretty", help="(default: pretty)")
    group.add_argument("--schemas", action="store_true", help="show the schemas of inputs and outputs, too")


def execute(options: Options, output: Output) -> int:
    """List the components and return the exit code."""
    components = run_to_end(_list(make_runtime(options, options.flow)))
    if options.format == "pretty":
        table = None if options.schemas else as_table(_rows(components), output.terminal_width)
        output.write(_pretty(components, schemas=options.schemas) if table is None else table)
        return 0
    document = {"components": [_document(info, schemas=options.schemas) for info in components]}
    output.write(as_json(document) if options.format == "json" else as_yaml(document))
    return 0


async def _list(runtime: LocalRuntime) -> list[ComponentInfo]:
    async with runtime:
        return await runtime.list_components()


def _document(info: ComponentInfo, *, schemas: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"component": info.component}
    if info.description:
        document["description"] = info.description
    if schemas:
        document |= {"input_schema": info.input_schema, "output_schema": info.output_schema}
    return document


def _rows(components: list[ComponentInfo]) -> list[tuple[str, str]]:
    return [(info.component, _first_line(info)) for info in _in_order(components)]


def _in_order(components: list[ComponentInfo]) -> list[ComponentInfo]:
    # What everybody has comes last.
    return sorted(components, key=lambda info: info.component.startswith("/builtin/"))


def _first_line(info: ComponentInfo) -> str:
    return next(iter((info.description or "").strip().splitlines()), "")


def _pretty(components: list[ComponentInfo], *, schemas: bool) -> str:
    width = min(max((len(info.component) for info in components), default=0), 40)
    lines: list[str] = []
    for info in _in_order(components):
        lines.append(f"{info.component:<{width}}  {_first_line(info)}".rstrip())
        if schemas:
            for name, schema in (("input", info.input_schema), ("output", info.output_schema)):
                lines.append(f"  {name}:")
                lines += [f"    {line}" for line in as_json(schema).splitlines()]
    return "".join(f"{line}\n" for line in lines)

"""``visualize``: draws a flow.

The drawing goes to --output, or to stdout. Its format is that of --format, else of the name of the file (.svg, .mmd,
.mermaid, .dot, .gv), else SVG. Dashed arrows are references that count only sometimes: branches of $if, later operands
of $coalesce, defaults of variables. Steps that never run are grey.
"""

from pathlib import Path

from stepflow_sdk.cli.arguments import Options, Parser, UsageError
from stepflow_sdk.cli.output import Output, check_writable
from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import as_dot, as_mermaid, as_svg, did_you_mean, load_flow, require_runnable

__all__ = ["add_arguments", "execute"]

_WRITERS = {"svg": as_svg, "mermaid": as_mermaid, "dot": as_dot}
_FORMATS = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot"}


def add_arguments(parser: Parser) -> None:
    """Describe what the command takes."""
    parser.add_argument("file", metavar="FLOW", nargs="?", help="the flow, a .yaml, .yml or .json file (needed)")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the drawing goes (default: stdout)")
    parser.add_argument("--format", metavar="FORMAT", help="svg, mermaid or dot; by default that of the file, else svg")
    parser.add_argument(
        "--no-details", action="store_true", help="leave out components and what is special about steps"
    )
    parser.add_argument(
        "--no-servers", action="store_true", help="as upstream; no server is asked or drawn in any case"
    )
    parser.set_defaults(parser=parser)


def execute(options: Options, output: Output) -> int:
    """Draw the flow and return the exit code."""
    file: str = options.parser.need(options, "file", "FLOW")
    form = options.format or _format_of(options.output)
    if form not in _WRITERS:
        raise UsageError(f"visualize: --format {form[:40]}: {_other_format(form)}")
    check_writable(options.output)
    try:
        flow = load_flow(file)
    except InvalidFlow as error:
        # A file that is not there is a mistake on the command line, not in the flow.
        if not Path(file[:4096]).exists():
            raise UsageError(f"visualize: {error}") from None
        raise
    require_runnable(flow)
    drawing = _WRITERS[form](flow, details=not options.no_details)
    if options.output is None:
        output.write(drawing)
        return 0
    try:
        Path(options.output).write_text(drawing, "utf-8")
    except OSError as error:
        raise UsageError(f"--output {options.output}: cannot be written: {error.strerror or error}") from None
    return 0


def _format_of(file: str | None) -> str:
    if file is None:
        return "svg"
    extension = Path(file).suffix.lower()
    if extension not in _FORMATS:
        if extension == ".png":
            raise UsageError(f"visualize: --output {file}: {_other_format('png')}")
        known = ", ".join(_FORMATS)
        raise UsageError(f"visualize: --output {file}: no format has this extension ({known}); say which with --format")
    return _FORMATS[extension]


def _other_format(form: str) -> str:
    if form.lower() == "png":
        return "pictures of pixels are not made here; write an .svg, and convert that"
    return did_you_mean(form, _WRITERS) or f"formats are {', '.join(_WRITERS)}"

"""Words that mean something to a decoder: a fuzzer puts them in where chance would take very long to write them."""

from stepflow_sdk.protocol import METHODS

__all__ = ["WORDS", "dictionary"]

_WORDS = r"""
{} [] ": null true 1e400 -0.0 18446744073709551616 \ud800 \u0000
&a *a !!str !a ~ %YAML #
$step $input $variable $literal $if then else $coalesce $from workflow $ $. [0] [' path default steps id component input
output onError action skip useDefault defaultValue retry maxRetries skipIf onSkip mustExecute variables schemas type
properties required $ref #/$defs/ $defs items anyOf oneOf allOf not enum const format test cases examples metadata
/builtin/eval /builtin/map $type merge_patch value
${ :- \$ plugins routes transport stdio http builtin mock mcp command args env url stateStore storageConfig
/{*component} conditions componentAllow plugin behaviors
jsonrpc 2.0 method params result error code message data attempt observability blob_id
content-length: transfer-encoding: chunked last-event-id: ?wait=true %00 %2F ../
"""
_WITH_SPACES = [
    "\ufeff",
    ": ",
    "- ",
    "\n  ",
    "|\n",
    "<<: *a",
    "---\n",
    "? ",
    "\r\n",
    "\n\n",
    "data: ",
    "event: ",
    "id: ",
]

WORDS = [*_WORDS.split(), *_WITH_SPACES, *METHODS]


def dictionary() -> str:
    """The words as libFuzzer reads them."""
    return "".join('"' + "".join(rf"\x{byte:02x}" for byte in word.encode()) + '"\n' for word in WORDS)

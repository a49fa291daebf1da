"""The command line of a server; imported only where there is one, for it costs more than a server has to spare."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from urllib.parse import urlsplit

from stepflow_sdk.running import Options
from stepflow_sdk.transports.http.exposure import exposed
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import is_loopback
from stepflow_sdk.tuning import Tuning

__all__ = ["parse_arguments"]


def parse_arguments(name: str, policy: HttpPolicy, tuning: Tuning, arguments: Sequence[str]) -> Options:
    """Read the command line of a server.

    Raises:
        SystemExit: With code 2 for a wrong command line.
    """
    parser = _make_parser(name)
    given = parser.parse_args(arguments)
    blob_api: str | None = given.blob_api
    if blob_api is not None and urlsplit(blob_api).scheme not in {"http", "https"}:
        parser.error(f"--blob-api is a URL, such as http://127.0.0.1:7840/api/v1/blobs, not {blob_api[:100]!r}")
    try:
        changed = exposed(
            policy,
            given.host,
            token_env=given.token_env,
            allow_hosts=given.allow_host,
            allow_origins=given.allow_origin,
            insecure=given.insecure or not given.http,
        )
    except ValueError as error:
        parser.error(str(error))
    if given.http and not is_loopback(given.host):
        print(f"warning: listening on {given.host}, beyond this machine", file=sys.stderr)
    if given.mcp and find_spec("mcp") is None:
        parser.error("to be an MCP server needs: pip install 'stepflow-sdk[mcp]'")
    tuning = Tuning.none() if given.no_tuning else tuning
    return Options(
        http=given.http,
        mcp=given.mcp,
        log_level=given.log_level,
        log_format=given.log_format,
        metrics=given.metrics,
        slow_after=given.slow,
        tuning=tuning,
        host=given.host,
        port=given.port,
        policy=replace(changed, blob_api=blob_api or policy.blob_api),
    )


def _make_parser(name: str) -> argparse.ArgumentParser:
    what = f"Serve the components of {name}: to a Stepflow runtime over stdin and stdout, or as --http or --mcp says."
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument(
        "--no-tuning", action="store_true", help="leave memory, threads and event loop as Python has them"
    )
    parser.add_argument("--log-format", default="text", choices=["text", "json"], help="json: an object on each line")
    parser.add_argument("--metrics", action="store_true", help="count requests: GET /metrics, or the log at the end")
    parser.add_argument(
        "--slow",
        type=_positive,
        metavar="SECONDS",
        help="warn in the log of a component that has not ended after so long",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--http", action="store_true", help='serve HTTP, and print {"port": N} when ready')
    ways.add_argument("--mcp", action="store_true", help="serve an MCP client over stdin and stdout, as tools")
    http = parser.add_argument_group("with --http")
    http.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    http.add_argument("--port", default=0, type=int, help="the port to listen on; 0, the default, takes a free one")
    http.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name for the Host header")
    http.add_argument("--allow-origin", action="append", default=[], metavar="ORIGIN", help="an origin that may call")
    http.add_argument("--token-env", metavar="NAME", help="the environment variable that holds the bearer token")
    http.add_argument(
        "--blob-api", metavar="URL", help="the runtime's blobs, for replicas that it does not introduce itself to"
    )
    http.add_argument("--insecure", action="store_true", help="listen beyond this machine without a token")
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError(text)
    return seconds

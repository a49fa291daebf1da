"""The options of commands that serve HTTP: where, and to whom."""

import socket

from stepflow_sdk.cli.arguments import Options, Parser, UsageError, whole_number
from stepflow_sdk.cli.output import say
from stepflow_sdk.transports.http.exposure import exposed
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import bind, is_loopback

__all__ = ["add_http", "open_listener", "read_policy"]


def add_http(parser: Parser, port: int) -> None:
    """Add the options; ``port`` is the default one."""
    group = parser.add_argument_group("where it listens, and to whom")
    group.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="the address (default: %(default)s)")
    group.add_argument(
        "-p",
        "--port",
        metavar="N",
        type=whole_number(0, 65535),
        default=port,
        help="the port, 0 for any free one (default: %(default)s)",
    )
    group.add_argument(
        "--allow-host", metavar="NAME", action="append", default=[], help="a further name for the Host header"
    )
    group.add_argument(
        "--allow-origin", metavar="ORIGIN", action="append", default=[], help="an origin whose pages may call"
    )
    group.add_argument(
        "--token-env", metavar="NAME", help="the environment variable with the bearer token that callers must send"
    )
    group.add_argument("--insecure", action="store_true", help="listen beyond this machine without a token")


def read_policy(options: Options) -> HttpPolicy:
    """Who may talk to the server.

    Raises:
        UsageError: The token is not there, or others could talk to the server without one.
    """
    try:
        policy = exposed(
            HttpPolicy(),
            options.host,
            token_env=options.token_env,
            allow_hosts=options.allow_host,
            allow_origins=options.allow_origin,
            insecure=options.insecure,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not is_loopback(options.host):
        say(f"warning: listening on {options.host}, beyond this machine")
    return policy


def open_listener(options: Options) -> socket.socket:
    """A socket that is bound to the address.

    Raises:
        UsageError: The address cannot be had.
    """
    try:
        return bind(options.host, options.port)
    except OSError as error:
        where = f"{options.host}, port {options.port}"
        said = error.strerror or error
        raise UsageError(f"cannot listen on {where}: {said}; choose others with --host and --port") from None

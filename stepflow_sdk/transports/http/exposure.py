"""Whom a server that listens is there for, as its command line says."""

import os
from collections.abc import Iterable
from dataclasses import replace

from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import is_loopback

__all__ = ["exposed"]

_NOBODYS_NAMES = frozenset({"0.0.0.0", "::"})  # noqa: S104  (what they are is all that they are here for)


def exposed(
    policy: HttpPolicy,
    host: str,
    *,
    token_env: str | None,
    allow_hosts: Iterable[str],
    allow_origins: Iterable[str],
    insecure: bool,
) -> HttpPolicy:
    """A policy for listening on an address.

    Args:
        policy: What is allowed already.
        host: The address.
        token_env: The environment variable with the bearer token; None for that of the policy.
        allow_hosts: Names for the ``Host`` header, beside that of the address.
        allow_origins: Origins whose pages may call.
        insecure: Whether others than this machine may call without a token.

    Raises:
        ValueError: The token is not there, or others could call without one.
    """
    token = policy.token
    if token_env is not None:
        token = os.environ.get(token_env)
        if not token:
            raise ValueError(f"the environment variable {token_env} of --token-env is not set")
    if token is None and not insecure and not is_loopback(host):
        remedy = "give --token-env NAME, or --insecure to allow it"
        raise ValueError(f"--host {host} can be reached from other machines: {remedy}")
    names = {*allow_hosts, host} - _NOBODYS_NAMES
    return replace(
        policy,
        allowed_hosts=policy.allowed_hosts | names,
        allowed_origins=policy.allowed_origins | set(allow_origins),
        token=token,
    )

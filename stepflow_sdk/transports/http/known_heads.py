"""Heads of requests that were found right before: a client sends the same one again and again."""

from stepflow_sdk.transports.http.policy import Headers, HttpPolicy

__all__ = ["KnownHeads"]

_MOST = 256
"""How many heads are remembered."""
_SHORT = 2000
"""Bytes; longer heads are checked each time."""
_FEW = 50
"""Fields; heads with more, too."""


class KnownHeads:
    """Checks the heads of POSTs of the protocol against a policy, one that was right before the fast way.

    Args:
        policy: What every head must pass.
    """

    def __init__(self, policy: HttpPolicy) -> None:
        self._policy = policy
        self._known: set[tuple[bytes | None, ...]] = set()
        # A length with fewer digits than the limit is below it.
        self._digits = len(str(policy.max_body_bytes))

    def check(self, headers: Headers) -> None:
        """Check a head.

        Raises:
            Refusal: As `HttpPolicy.check_source`, `HttpPolicy.check_caller` and `HttpPolicy.check_content` do.
        """
        policy = self._policy
        fields = dict(headers)
        get = fields.get
        # All that decides, but for the length and the token. A field that is there twice makes the dictionary shorter.
        decisive = (
            get(b"host"),
            get(b"origin"),
            get(b"content-type"),
            get(b"accept"),
            get(b"content-encoding"),
            get(b"transfer-encoding"),
        )
        is_simple = (
            len(fields) == len(headers) <= _FEW
            and len(get(b"content-length", b"")) < self._digits
            and len(b"".join(fields)) + len(b"".join(fields.values())) < _SHORT
        )
        if is_simple and decisive in self._known:
            if policy.token is not None:
                policy.check_caller(headers)
            return
        policy.check_source(headers)
        policy.check_caller(headers)
        policy.check_content(headers)
        # Not with a transfer coding: whether that may be there depends on the length.
        if is_simple and get(b"transfer-encoding") is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known.add(decisive)

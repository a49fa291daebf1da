"""Component servers written with stepflow-py, and what tests know of all of them."""

from typing import Any

PEER_EXECUTION_FAILED = -32003
"""What these peers answer whatever went wrong in a component; in the protocol's table it is the code of bad input."""

ECHO: dict[str, Any] = {
    "name": "echo",
    "steps": [{"id": "s", "component": "/echo", "input": {"value": {"$input": "$"}}}],
    "output": {"value": {"$step": "s"}},
}
FAIL: dict[str, Any] = {
    "steps": [{"id": "s", "component": "/fail", "input": {"text": {"$input": "$"}}}],
    "output": {"$step": "s"},
}

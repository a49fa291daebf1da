"""Short ways to define one component and to call it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from stepflow_sdk.components import ComponentSpec, Input, Router


def spec_of(function: Callable[..., Any], **options: Any) -> ComponentSpec:
    """Return the component of a function."""
    router = Router()
    router.component(**options)(function)
    return router.specs[0]


def run(
    spec: ComponentSpec,
    value: Any = None,
    *,
    path_params: Mapping[str, str] | None = None,
    inject: Mapping[type, Any] | None = None,
) -> Any:
    """Call a component with a JSON value and return its output as one."""
    call = spec.bind(json.dumps(value).encode(), path_params or {}, inject or {})
    return json.loads(json_of(spec, call()))


def json_of(spec: ComponentSpec, output: Any) -> bytes:
    """Return an output as JSON."""
    text = spec.encode(output)
    assert isinstance(text, bytes)
    return text


def problems(error: BaseException) -> list[str]:
    """Return the paths of the problems in an error, in order."""
    data: Any = getattr(error, "data", None)
    return [problem["path"] for problem in data["problems"]]


def whole(annotation: Any) -> Any:
    """Return an annotation, known only at run time, as that of a whole input."""
    generic: Any = Input
    return generic[annotation]

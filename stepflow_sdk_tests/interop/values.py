"""JSON values that something on their way might change."""

from typing import Any

VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**63),
    2**63 - 1,
    2**64 - 1,
    1.0,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    "",
    'hé\u2028\u2029\x7f\x00\x1f😀\n"\\',
    [],
    {},
    [[], {"": None}],
    {"b": 1, "a": [1, 1.0, {"ключ": "значение"}]},
]

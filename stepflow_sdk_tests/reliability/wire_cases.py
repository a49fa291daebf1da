"""What can come over the wire, and what it is answered with."""

import json
from typing import Any, NamedTuple

from stepflow_sdk_tests.reliability.ends import execution

__all__ = ["CASES", "Case"]

PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602
UNKNOWN_COMPONENT, INPUT = -32001, -32003
RESULT, NOTHING = 0, 1


class Case(NamedTuple):
    """One message.

    Attributes:
        code: That of the error, `RESULT` for a result, `NOTHING` for silence.
        id: The id of the answer; where a message is broken, None when it cannot be told.
        where: The path that the error's data names.
    """

    name: str
    body: bytes
    code: int
    id: int | str | None = None
    where: str | None = None


def message(id: str = "1", method: str = '"components/info"', params: str = '{"component":"/echo"}') -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}'.encode()


def nested(opening: str, middle: str, closing: str, depth: int) -> bytes:
    return f"{opening * depth}{middle}{closing * depth}".encode()


def execute_raw(input: bytes) -> bytes:
    head = b'{"jsonrpc":"2.0","id":1,"method":"components/execute","params":{"component":"/echo","input":'
    return head + input + b',"attempt":1,"observability":{}}}'


GOOD = json.dumps(execution(1, "/echo", {"a": ["é", 1.5, None]})).encode()

NO_JSON: list[Case] = [
    *(
        Case(f"cut after {at} bytes", GOOD[:at], PARSE, 1 if at > 26 or at < 0 else None)
        for at in (1, 2, 10, 16, 27, 60, -2, -1)
    ),
    Case("a word", b"hello", PARSE),
    Case("two byte-order marks", b"\xef\xbb\xbf" * 2 + GOOD, PARSE),
    Case("a thousand byte-order marks and no more", b"\xef\xbb\xbf" * 1001, PARSE),
    Case("a million byte-order marks", b"\xef\xbb\xbf" * 1_000_000 + GOOD, PARSE),
    Case("a lone brace", b"}", PARSE),
    Case("single quotes", b"{'jsonrpc':'2.0','id':1}", PARSE),
    Case("a comment", b'{"jsonrpc":"2.0",/* no */"id":1}', PARSE),
    Case("a comma at the end", b'{"jsonrpc":"2.0","id":1,"method":"components/list",}', PARSE, 1),
    Case("two commas", b'{"jsonrpc":"2.0",,"id":1}', PARSE),
    Case("two values", GOOD + b" " + GOOD, PARSE, 1),
    Case("text behind", GOOD + b" and more", PARSE, 1),
    Case("a key without quotes", b'{id:1,"method":"components/list"}', PARSE),
    Case("NaN", execute_raw(b"NaN"), PARSE, 1),
    Case("Infinity", execute_raw(b"Infinity"), PARSE, 1),
    Case("minus Infinity", execute_raw(b"-Infinity"), PARSE, 1),
    Case("a hexadecimal number", execute_raw(b"0x10"), PARSE, 1),
    Case("a leading zero", execute_raw(b"01"), PARSE, 1),
    Case("a plus", execute_raw(b"+1"), PARSE, 1),
    Case("a dot without digits", execute_raw(b"1."), PARSE, 1),
    Case("an exponent without digits", execute_raw(b"1e"), PARSE, 1),
    Case("a tab in a string", execute_raw(b'"a\tb"'), PARSE, 1),
    Case("a null byte in a string", execute_raw(b'"a\x00b"'), PARSE, 1),
    Case("null bytes", b"\x00" * 100, PARSE),
    Case("a null byte behind", GOOD + b"\x00", PARSE, 1),
    Case("an unknown escape", execute_raw(rb'"\x41"'), PARSE, 1),
    Case("a short escape", execute_raw(rb'"\u12"'), PARSE, 1),
    Case("half a pair of surrogates", execute_raw(rb'"\ud800"'), PARSE, 1),
    Case("the other half", execute_raw(rb'"\udc00"'), PARSE, 1),
    Case("a pair in the wrong order", execute_raw(rb'"\udc00\ud800"'), PARSE, 1),
    Case("a broken byte", execute_raw(b'"\xff"'), PARSE, 1),
    Case("half a character", execute_raw(b'"\xc3"'), PARSE, 1),
    Case("an overlong character", execute_raw(b'"\xc0\xaf"'), PARSE, 1),
    Case("an encoded surrogate", execute_raw(b'"\xed\xa0\x80"'), PARSE, 1),
    Case("a character beyond Unicode", execute_raw(b'"\xf4\x90\x80\x80"'), PARSE, 1),
    Case("a broken byte in a key", execute_raw(b'{"\xff":1}'), PARSE, 1),
    Case("a broken byte in the method", message(method='"x"').replace(b'"x"', b'"\xff"'), PARSE, 1),
    Case("Latin-1", GOOD.replace(rb"\u00e9", "é".encode("latin-1")), PARSE, 1),
    Case("UTF-16", GOOD.decode().encode("utf-16-le").replace(b"\n", b""), PARSE),
    Case("UTF-32", GOOD.decode().encode("utf-32-le"), PARSE),
    Case("1e400", execute_raw(b"1e400"), INPUT, 1),
    Case("minus 1e400", execute_raw(b"[-1e400]"), INPUT, 1),
    Case("a huge exponent", execute_raw(b"1e99999999999999999999"), INPUT, 1),
    Case("a deep list", execute_raw(nested("[", "", "]", 100_000)), PARSE, 1),
    Case("a deep object", execute_raw(nested('{"a":', "1", "}", 100_000)), PARSE, 1),
    Case("a deep list without an end", b"[" * 1_000_000, PARSE),
    Case("a deep object without an end", b'{"a":' * 500_000, PARSE),
    Case("deep outside", nested("[", "", "]", 100_000), PARSE),
    Case("binary", bytes(range(256)).replace(b"\n", b""), PARSE),
    Case("a gzip header", b"\x1f\x8b\x08\x00\x00\x00", PARSE),
    Case("YAML", b"jsonrpc: '2.0'", PARSE),
    Case("a request of HTTP", b"GET / HTTP/1.1", PARSE),
    Case("a header of LSP", b"Content-Length: 100", PARSE),
]

NO_MESSAGE: list[Case] = [
    *(Case(f"the value {value.decode()}", value, REQUEST) for value in (b"null", b"1", b'"text"', b"true", b"1.5")),
    Case("an empty object", b"{}", REQUEST),
    Case("an id alone", b'{"jsonrpc":"2.0","id":7}', REQUEST, 7),
    Case("a method that is a number", message(method="5"), REQUEST, 1),
    Case("a method that is null", message(method="null"), REQUEST, 1),
    Case("a method that is a list", message(method="[]"), REQUEST, 1),
    *(
        Case(f"the version {version}", GOOD.replace(b'"2.0"', version.encode()), REQUEST, 1)
        for version in ('"1.0"', '"2"', '"2.00"', '""', "2", "2.0", "null", "[]")
    ),
    *(
        Case(f"the id {id[:40]}", message(id), REQUEST, None)
        for id in (
            "null",
            "true",
            "false",
            "1.5",
            "-0.5",
            "[]",
            "[1]",
            "{}",
            '{"a":1}',
        )
    ),
    Case("a lone surrogate as the id", message(r'"\ud800"'), PARSE),
    Case("1e400 as the id", message("1e400"), REQUEST),
]

IDS: list[tuple[str, int | str]] = [
    ("0", 0),
    ("-0", 0),
    ("-1", -1),
    (str(2**31), 2**31),
    (str(2**53 + 1), 2**53 + 1),
    (str(2**63 - 1), 2**63 - 1),
    (str(-(2**63)), -(2**63)),
    (str(2**64), 2**64),
    ("9" * 400, 10**400 - 1),
    ('""', ""),
    ('" "', " "),
    ('"1"', "1"),
    ('"null"', "null"),
    ('"é😀\u2028"', "é😀\u2028"),
    (r'"\u0000"', "\0"),
    (r'"\"\\\/\n"', '"\\/\n'),
    (r'"\ud83d\ude00"', "😀"),
    ('"__proto__"', "__proto__"),
    (f'"{"x" * 100_000}"', "x" * 100_000),
]

ACCEPTED: list[Case] = [
    *(Case(f"the id {raw[:20]}", message(raw), RESULT, id) for raw, id in IDS),
    Case("no version", b'{"id":1,"method":"components/list","params":{}}', RESULT, 1),
    Case("no params", b'{"jsonrpc":"2.0","id":1,"method":"components/list"}', RESULT, 1),
    Case("a byte-order mark", b"\xef\xbb\xbf" + GOOD, RESULT, 1),
    Case("a carriage return", GOOD + b"\r", RESULT, 1),
    Case("blanks around", b" \t " + GOOD + b" \t\r", RESULT, 1),
    Case("keys in another order", json.dumps(execution(1, "/echo"), sort_keys=True).encode(), RESULT, 1),
    Case("unknown keys", b'{"x":[],"jsonrpc":"2.0","id":1,"method":"components/list","y":null}', RESULT, 1),
    Case("the id twice: the last counts", b'{"id":1,"id":2,"method":"components/list"}', RESULT, 2),
    Case("the method twice: the last counts", b'{"id":1,"method":"no","method":"components/list"}', RESULT, 1),
    Case("a result beside the method", b'{"id":1,"method":"components/list","result":5}', RESULT, 1),
    Case("a key in escapes", rb'{"\u0069d":1,"method":"components/list"}', RESULT, 1),
    Case("the method in escapes", rb'{"id":1,"method":"components\/list"}', RESULT, 1),
    Case("100,000 keys", execute_raw(json.dumps({str(n): n for n in range(100_000)}).encode()), RESULT, 1),
    Case("a long number", execute_raw(b"0." + b"1" * 10_000), RESULT, 1),
    Case("a nested list", execute_raw(nested("[", "", "]", 200)), RESULT, 1),
    Case("initialize again", message(method='"initialize"', params='{"runtime_protocol_version":1}'), RESULT, 1),
    Case("a strange version", message(method='"initialize"', params='{"runtime_protocol_version":999}'), RESULT, 1),
]

SILENT: list[Case] = [
    Case("initialized", b'{"jsonrpc":"2.0","method":"initialized","params":{}}', NOTHING),
    Case("an unknown notification", b'{"jsonrpc":"2.0","method":"no/such","params":{"a":1}}', NOTHING),
    Case("a request as a notification", b'{"jsonrpc":"2.0","method":"components/list","params":{}}', NOTHING),
    Case("a bad request as a notification", b'{"jsonrpc":"2.0","method":"components/execute","params":5}', NOTHING),
    Case("a result that nobody asked for", b'{"jsonrpc":"2.0","id":"x","result":{}}', NOTHING),
    Case("a null result that nobody asked for", b'{"jsonrpc":"2.0","id":"x","result":null}', NOTHING),
    Case("a result with a number as its id", b'{"jsonrpc":"2.0","id":5,"result":{}}', NOTHING),
    Case("a result without an id", b'{"jsonrpc":"2.0","result":{}}', NOTHING),
    Case("an error that nobody asked for", b'{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}', NOTHING),
    Case("a complaint", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}', NOTHING),
    Case("a complaint that is rubbish", b'{"jsonrpc":"2.0","id":null,"error":[1]}', NOTHING),
    Case("both that nobody asked for", b'{"id":"x","result":1,"error":{"code":1,"message":"m"}}', NOTHING),
]


def execute(params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "components/execute", "params": params}).encode()


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in execution(1, "/echo", 1)["params"].items() if name != field}


def with_(**fields: Any) -> dict[str, Any]:
    return {**execution(1, "/echo", 1)["params"], **fields}


BAD_INPUTS: list[Any] = [
    *(None, 5, [], "text", {}),
    {"value": None},
    {"value": "5"},
    {"value": 1.5},
    {"value": True},
    {"value": []},
    {"value": 1, "factor": "x"},
]

REFUSED: list[Case] = [
    *(
        Case(f"the method {method!r:.40}", message(method=json.dumps(method)), METHOD, 1)
        for method in ("", "no/such", "components/lisT", "blobs/put", "rpc.discover", "é", "x" * 100_000)
    ),
    *(
        Case(f"{method} with {params}", message(method=f'"{method}"', params=params), PARAMS, 1, "$")
        for method in ("components/execute", "components/info", "initialize")
        for params in ("[]", "5", '"text"', "null", "true")
    ),
    *(
        Case(f"list with {params}", message(method='"components/list"', params=params), PARAMS, 1, "$")
        for params in "05"
    ),
    Case("execute without a component", execute(without("component")), PARAMS, 1, "$"),
    Case("execute without an input", execute(without("input")), PARAMS, 1, "$"),
    Case("the component is a number", execute(with_(component=5)), PARAMS, 1, "$.component"),
    Case("the component is null", execute(with_(component=None)), PARAMS, 1, "$.component"),
    Case("the attempt is text", execute(with_(attempt="1")), PARAMS, 1, "$.attempt"),
    Case("the attempt is a fraction", execute(with_(attempt=1.5)), PARAMS, 1, "$.attempt"),
    Case("the attempt is negative", execute(with_(attempt=-1)), PARAMS, 1, "$.attempt"),
    Case("observability is a list", execute(with_(observability=[])), PARAMS, 1, "$.observability"),
    Case("the run is a number", execute(with_(observability={"run_id": 5})), PARAMS, 1, "$.observability.run_id"),
    Case("info without a component", message(params="{}"), PARAMS, 1, "$"),
    Case("info of a number", message(params='{"component":5}'), PARAMS, 1, "$.component"),
    Case(
        "initialize without a version",
        message(method='"initialize"', params="{}"),
        PARAMS,
        1,
        "$.runtime_protocol_version",
    ),
    Case(
        "initialize with text",
        message(method='"initialize"', params='{"runtime_protocol_version":"1"}'),
        PARAMS,
        1,
        "$.runtime_protocol_version",
    ),
    *(
        Case(f"the component {path!r:.30}", execute(with_(component=path)), UNKNOWN_COMPONENT, 1)
        for path in ("", "/", "/no/such", "/ECHO", "/echo/", "//echo", "/echo\0", "/../echo", "/" + "x" * 100_000)
    ),
    Case("info of an unknown component", message(params='{"component":"/no"}'), UNKNOWN_COMPONENT, 1),
    *(
        Case(f"the input {json.dumps(input):.30}", execute(with_(component="/number", input=input)), INPUT, 1)
        for input in BAD_INPUTS
    ),
]

CASES: list[Case] = [*NO_JSON, *NO_MESSAGE, *ACCEPTED, *SILENT, *REFUSED]

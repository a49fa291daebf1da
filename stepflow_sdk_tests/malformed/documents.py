"""Documents that are right, with as much in them as the formats know."""

from typing import Any

from stepflow_sdk.flows import dump_yaml

FLOW: dict[str, Any] = {
    "name": "whole",
    "description": "Has one of each.",
    "version": "1",
    "schemas": {
        "type": "object",
        "$defs": {"Name": {"type": "string", "default": "Ada"}},
        "properties": {
            "input": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "output": {"type": "object"},
            "variables": {
                "type": "object",
                "properties": {
                    "name": {"$ref": "#/$defs/Name"},
                    "key": {"type": "string", "env_var": "KEY", "is_secret": True},
                },
                "required": ["key"],
            },
            "steps": {"type": "object", "properties": {"a": {"type": "object"}}},
        },
    },
    "steps": [
        {"id": "a", "component": "/echo", "input": {"x": {"$input": "$.x"}, "l": {"$literal": {"$step": "z"}}}},
        {"id": "b", "component": "/echo", "input": [{"$step": "a", "path": "$.x"}], "onError": {"action": "fail"}},
        {
            "id": "c",
            "component": "/fail",
            "input": {"$coalesce": [None, {"$step": "b"}, {"$variable": "name", "default": 1}]},
            "onError": {"action": "useDefault", "defaultValue": {"k": 1}},
            "metadata": {"m": [1]},
        },
        {"id": "d", "component": "/fail", "onError": {"action": "retry", "maxRetries": 1}, "mustExecute": True},
        {
            "id": "e",
            "component": "/builtin/map",
            "input": {"workflow": {"$literal": {"output": {"$input": "$"}}}, "items": [1, 2], "max_concurrency": 1},
        },
        {
            "id": "f",
            "component": "/builtin/put_blob",
            "input": {"data": {"$literal": {"output": 1}}, "blob_type": "flow"},
        },
        {
            "id": "g",
            "component": "/builtin/eval",
            "input": {"flow_id": {"$step": "f", "path": "blob_id"}, "input": None},
        },
        {
            "id": "h",
            "component": "/builtin/iterate",
            "input": {"flow": {"$literal": {"output": {"result": 1}}}, "initial_input": 1, "max_iterations": 2},
        },
    ],
    "output": {
        "if": {"$if": {"$step": "c"}, "then": {"$step": "b"}, "else": {"$step": "e", "path": "$.results[0]"}},
        "all": [{"$step": "g"}, {"$step": "h", "path": '$["result"]'}],
    },
    "examples": [{"name": "one", "input": {"x": 1}, "description": "d"}],
    "test": {"cases": [{"name": "one", "input": {"x": 1}, "output": {"outcome": "success", "result": {}}}]},
    "metadata": {"m": {}},
}
OLD_FLOW: dict[str, Any] = {
    "schema": "https://stepflow.org/schemas/v1/flow.json",
    "inputSchema": {"type": "object"},
    "steps": [
        {"id": "a", "component": "/echo", "input": {"x": {"$from": {"workflow": "input"}, "path": "x"}}},
        {
            "id": "b",
            "component": "/echo",
            "skipIf": {"$from": {"step": "a"}, "path": "x"},
            "input": {"y": {"$from": {"step": "a"}, "onSkip": {"action": "useDefault", "defaultValue": 1}}},
            "onError": {"action": "skip"},
        },
    ],
    "output": {"$from": {"step": "b"}, "onSkip": {"action": "useDefault"}},
}
CONFIG: dict[str, Any] = {
    "workingDirectory": "work",
    "plugins": {
        "builtin": {"type": "builtin"},
        "child": {
            "type": "stepflow",
            "transport": "stdio",
            "command": "python",
            "args": ["-m", "${A:-b}"],
            "env": {"K": "$A"},
        },
        "port": {
            "type": "stepflow",
            "command": "python",
            "healthCheck": {"path": "/health", "timeoutMs": 1, "retryDelayMs": 1},
        },
        "far": {"type": "stepflow", "url": "http://127.0.0.1:1/x"},
        "tools": {"type": "mcp", "command": "python", "args": ["-m", "tools"], "env": {}},
        "mock": {
            "type": "mock",
            "components": {
                "/m": {
                    "input_schema": {},
                    "output_schema": {},
                    "behaviors": {
                        "a": {"outcome": "success", "result": 1},
                        "b": {"outcome": "failed", "error": {"code": 42, "message": "m", "data": {}}},
                        "c": {"error": "text"},
                    },
                }
            },
        },
    },
    "routes": {
        "/builtin/{*component}": [{"plugin": "builtin"}],
        "/child/{x}/{*component}": [{"plugin": "child", "component": "/{x}/{component}"}],
        "/m/{component}": [
            {
                "plugin": "mock",
                "conditions": [{"path": "$.a[0]", "value": 1}],
                "componentAllow": ["/m"],
                "componentDeny": ["/n"],
            },
            {"plugin": "far"},
        ],
    },
    "stateStore": {"type": "inMemory"},
    "retry": {
        "transportMaxRetries": 1,
        "backoff": {"type": "exponential", "minDelayMs": 1, "maxDelayMs": 2, "factor": 2},
    },
}
OVERRIDES: dict[str, Any] = {
    "a": {"$type": "merge_patch", "value": {"input": {"x": {"$input": "$"}}, "onError": {"action": "fail"}}},
    "b": {"value": {"component": "/echo", "mustExecute": True, "input": None}},
}
TEXTS = [dump_yaml(FLOW), dump_yaml(OLD_FLOW)]
CONFIG_TEXT = dump_yaml(CONFIG)

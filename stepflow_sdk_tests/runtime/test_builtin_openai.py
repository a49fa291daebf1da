import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepflow_sdk.errors import ComponentError, InvalidConfig, RequestTimeout, ServerLost
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import Backoff, LocalRuntime, RetryPolicy, load_config
from stepflow_sdk_tests.transports.scripted_http import Exchange, Scripted, scripted

KEY = "sk-very-secret"
ASK = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]}
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def config(**openai: Any) -> dict[str, Any]:
    return {
        "plugins": {"builtin": {"type": "builtin"}},
        "builtin": {"openai": openai},
        "routes": {"/builtin/{*component}": [{"plugin": "builtin"}]},
    }


@asynccontextmanager
async def model(
    answer: Callable[[Exchange], Awaitable[None]], path: str = "v1", **openai: Any
) -> AsyncGenerator[tuple[LocalRuntime, Scripted], None]:
    """A runtime, and the API of a chat model behind it."""
    async with scripted(answer) as api:
        loaded = load_config(config(baseUrl=f"{api.url}{path}", **openai))
        async with LocalRuntime(config=loaded, retry=RetryPolicy(2, Backoff.constant(0.001))) as runtime:
            yield runtime, api


async def completes(exchange: Exchange) -> None:
    await exchange.reply(COMPLETION)


def saying(status: int, body: Any, content_type: str = "application/json") -> Callable[[Exchange], Awaitable[None]]:
    async def answer(exchange: Exchange) -> None:
        await exchange.reply(body, status, content_type)

    return answer


async def ask(runtime: LocalRuntime, **more: Any) -> Any:
    return await runtime.execute("/builtin/openai", {**ASK, **more})


async def test_a_model_is_asked_and_its_text_is_the_response() -> None:
    async with model(completes) as (runtime, api):
        assert await ask(runtime, api_key=KEY) == {"response": "hello"}
        (exchange,) = api.exchanges
    assert (exchange.method, exchange.target) == ("POST", "/v1/chat/completions")
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.json == {"model": "gpt-3.5-turbo", **ASK}


async def test_the_limits_and_the_model_of_the_input_are_sent() -> None:
    async with model(completes, model="local-7b") as (runtime, api):
        await ask(runtime, max_tokens=5, temperature=0)
        await ask(runtime, max_tokens=None, temperature=0.5, model="other")
        first, second = (exchange.json for exchange in api.exchanges)
    assert first == {"model": "local-7b", **ASK, "max_tokens": 5, "temperature": 0}
    assert second == {"model": "other", **ASK, "temperature": 0.5}


async def test_connections_are_used_again() -> None:
    async with model(completes) as (runtime, api):
        for _ in range(3):
            await ask(runtime)
        assert (len(api.exchanges), api.connections) == (3, 1)


@pytest.mark.parametrize(
    ("input", "configured", "environ", "sent"),
    [
        (KEY, "from-config", "from-environment", f"Bearer {KEY}"),
        (None, "from-config", "from-environment", "Bearer from-config"),
        (None, None, "from-environment", "Bearer from-environment"),
        (None, None, None, None),
        (None, "$OPENAI_TEST_KEY", None, "Bearer substituted"),
    ],
)
async def test_the_key_comes_from_the_input_the_configuration_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, input: Any, configured: str | None, environ: str | None, sent: str | None
) -> None:
    monkeypatch.setenv("OPENAI_TEST_KEY", "substituted")
    if environ is not None:
        monkeypatch.setenv("OPENAI_API_KEY", environ)
    async with model(completes, apiKey=configured) as (runtime, api):
        await ask(runtime, api_key=input)
        assert api.exchanges[0].headers.get("authorization") == sent


async def test_the_base_url_comes_from_the_environment_where_the_configuration_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scripted(completes) as api, LocalRuntime() as runtime:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{api.url}some/where/?version=2#x")
        assert await ask(runtime) == {"response": "hello"}
        assert api.exchanges[0].target == "/some/where/chat/completions?version=2"


async def test_a_proxy_of_the_environment_is_not_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with model(completes) as (runtime, _):
        assert await ask(runtime) == {"response": "hello"}


async def test_a_proxy_of_the_environment_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(completes) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with LocalRuntime(config=load_config(config(baseUrl="http://model.invalid/v1"))) as runtime:
            assert await ask(runtime) == {"response": "hello"}
        assert proxy.exchanges[0].target == "http://model.invalid/v1/chat/completions"


async def test_without_a_key_the_official_api_is_not_even_asked() -> None:
    async with LocalRuntime() as runtime:
        with pytest.raises(ComponentError, match=r"there is no API key: .*OPENAI_API_KEY"):
            await ask(runtime)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (saying(401, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}), "401"),
        (saying(403, {"error": {"message": "not for you"}}), "refused the API key.*not for you"),
        (saying(404, {"error": {"message": "no such model", "type": "x"}}), r"refused the request \(404\): no such"),
        (saying(400, b"<html>no</html>", "text/html"), r"\(400\): <html>no</html>"),
        (saying(400, b""), r"\(400\): nothing"),
        (saying(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), r"refused the request \(429\): pay"),
        (saying(302, b""), "a redirect, which is not followed"),
        (saying(200, b""), "no chat completion: Input data was truncated"),
        (saying(200, b"hello"), "no chat completion: .*it said 'hello'"),
        (saying(200, b"\xff\xfe"), "no chat completion"),
        (saying(200, b"[" * 100_000), "no chat completion"),
        (saying(200, {"error": {"message": KEY}}), r"no chat completion: .*`choices`"),
        (saying(200, {"choices": []}), r"no chat completion: .*\$\.choices"),
        (saying(200, {"choices": [{"message": {"role": "assistant", "content": None}}]}), "got `null`"),
    ],
)
async def test_an_answer_that_is_no_completion_fails_the_step_at_once_and_never_shows_the_key(
    caplog: pytest.LogCaptureFixture, answer: Callable[[Exchange], Awaitable[None]], said: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with model(answer, apiKey=KEY) as (runtime, api):
        with pytest.raises(ComponentError, match=said) as caught:
            await ask(runtime)
        assert str(caught.value).startswith(f"{api.url}v1/chat/completions ")
        step = {"id": "s", "component": "/builtin/openai", "input": ASK}
        outcome = await runtime.run({"steps": [step], "output": {"$step": "s"}})
        assert len(api.exchanges) == 2
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
    assert KEY not in f"{caught.value}{json.dumps(outcome.error.data)}{caplog.text}{api!r}"


@pytest.mark.parametrize(
    ("status", "body"),
    [(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), (500, b"oops"), (503, {"error": "x"})],
)
async def test_what_is_over_in_a_moment_is_tried_again(status: int, body: Any) -> None:
    async def answer(exchange: Exchange) -> None:
        await (completes(exchange) if len(api.exchanges) == 3 else exchange.reply(body, status))

    async with model(answer) as (runtime, api):
        step = {"id": "s", "component": "/builtin/openai", "input": ASK}
        outcome = await runtime.run({"steps": [step], "output": {"$step": "s", "path": "response"}})
        assert outcome.unwrap() == "hello"
        assert len(api.exchanges) == 3
    async with model(saying(status, body)) as (runtime, _):
        with pytest.raises(ServerLost, match=rf"could not answer now \({status}\): "):
            await ask(runtime)


async def test_a_server_that_breaks_off_or_is_not_there_is_lost() -> None:
    async def drop(exchange: Exchange) -> None:
        exchange.drop()

    async with model(drop) as (runtime, api):
        with pytest.raises(ServerLost, match="/v1/chat/completions broke off"):
            await ask(runtime)
        url = api.url
    async with LocalRuntime(config=load_config(config(baseUrl=url))) as runtime:
        with pytest.raises(ServerLost, match="cannot be reached: "):
            await ask(runtime)


async def test_an_answer_that_does_not_come_is_given_up_in_time() -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.gone.wait()

    async with model(hang, timeoutSecs=0.1) as (runtime, _):
        with pytest.raises(RequestTimeout, match=r"did not answer within 0\.1 s"):
            await ask(runtime)


@pytest.mark.parametrize("key", ["two\r\nHost: x", "a b", "é"])
async def test_a_key_cannot_write_headers(key: str) -> None:
    async with model(completes) as (runtime, api):
        with pytest.raises(ComponentError, match="holds characters") as caught:
            await ask(runtime, api_key=key)
        assert key not in str(caught.value)
        assert api.exchanges == []


async def test_a_base_url_of_the_environment_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalRuntime() as runtime:
        for url in ("ftp://x", "http://user:secret@host", "http://user:secret@host:99999"):
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            with pytest.raises(ComponentError, match="the base URL of /openai: ") as caught:
                await ask(runtime)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("builtin", "said"),
    [
        ({"openai": {"baseUrl": "nowhere"}}, "is not the URL of a server"),
        ({"openai": {"baseUrl": "http://u:p@host"}}, "holds a user name"),
        ({"openai": {"baseURL": "http://host"}}, "did you mean 'baseUrl'"),
        ({"openai": {"apiKey": "$NO_SUCH_KEY"}}, "'NO_SUCH_KEY' is not set"),
        ({"openai": {"model": 3}}, "is a string"),
        ({"openai": {"timeoutSecs": 0}}, "more than 0"),
        ({"openai": []}, "is an object, not an array"),
        ({"loadFileFrom": "/"}, "is a list"),
        ({"loadFilesFrom": []}, "did you mean 'loadFileFrom'"),
    ],
)
def test_what_is_wrong_in_what_a_configuration_says_of_builtins_is_told(builtin: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_config({"plugins": {}, "routes": {}, "builtin": builtin}, environ={})


@pytest.mark.parametrize("key", ["openai", "loadFileFrom"])
def test_settings_in_the_plugin_itself_which_orchestrators_refuse_are_sent_to_their_place(key: str) -> None:
    with pytest.raises(InvalidConfig, match=f"unknown key '{key}' of plugin 'b'; .*under 'builtin' at the top"):
        load_config({"plugins": {"b": {"type": "builtin", key: {}}}, "routes": {}})


def test_a_configuration_does_not_show_its_key() -> None:
    assert KEY not in repr(load_config(config(apiKey=KEY)))

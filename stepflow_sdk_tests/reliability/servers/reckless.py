"""Components that do more of what components do; `careless` of the end-to-end tests has the rest."""

import asyncio
import contextlib
import dataclasses
import decimal
import enum
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import msgspec

from stepflow_sdk import (
    BlockingContext,
    ComponentError,
    InvalidInput,
    ResourceUnavailable,
    SkipStep,
    StepflowContext,
    StepflowServer,
)
from stepflow_sdk.transports.http import HttpPolicy

if "MAX_FILES" in os.environ:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (int(os.environ["MAX_FILES"]),) * 2)

server = StepflowServer(
    "reckless",
    drain_timeout=float(os.environ.get("DRAIN", "6")),
    max_message_bytes=int(os.environ.get("MAX_BYTES", str(64 * 1024 * 1024))),
    max_in_flight=int(os.environ.get("MAX_IN_FLIGHT", "10000")),
    call_timeout=float(os.environ.get("CALL_TIMEOUT", "60")),
    http=HttpPolicy(
        head_timeout=float(os.environ.get("HEAD_TIMEOUT", "10")),
        body_timeout=float(os.environ.get("BODY_TIMEOUT", "20")),
        max_connections=int(os.environ.get("MAX_CONNECTIONS", "10000")),
    ),
)
forever = threading.Event()
kept: list[Any] = []


@server.component
async def echo(data: Any) -> Any:
    return data


@server.component("echo/thread")
def echo_thread(data: Any) -> Any:
    return data


@server.component
def number(value: int, factor: float = 1.0) -> float:
    return value * factor


@server.component
async def tasks() -> int:
    """How many tasks there are."""
    return len(asyncio.all_tasks())


# ---- what is raised -------------------------------------------------------------------------------------------


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(9)


class NotText(Exception):
    def __str__(self) -> str:
        made: Any = 5
        return made  # type: ignore[no-any-return]  # that it is none is the point


class NoRepresentation(Exception):
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class Rude(BaseException):
    pass


class RudeText(BaseException):
    def __str__(self) -> str:
        raise Rude


class Hidden:
    def __repr__(self) -> str:
        raise SystemExit(8)


def leave(_: object) -> None:
    raise SystemExit(7)


NoClass = type("NoClass", (Exception,), {"__class__": property(leave)})


class NoAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"there is no {name}")


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__name__", "__qualname__", "__module__"}:
            raise KeyboardInterrupt
        return super().__getattribute__(name)


class OfNamelessClass(Exception, metaclass=Nameless):
    pass


def dive() -> int:
    return dive() + 1


def raise_group(depth: int) -> None:
    error: Exception = ValueError("at the bottom")
    for _ in range(depth):
        error = ExceptionGroup("around", [error])
    raise error


def raise_in_circles() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def cyclic() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def deep(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


def large_code() -> BaseException:
    error = ComponentError("odd")
    error.code = 2**70
    return error


def odd_code() -> BaseException:
    error = ComponentError("odd")
    error.code = "x"  # type: ignore[assignment]  # users can write anything anywhere
    return error


class LyingGroup(ExceptionGroup[Exception]):
    @property
    def exceptions(self) -> Any:
        raise SystemExit(2)


ERRORS: dict[str, Callable[[], BaseException]] = {
    "stop iteration": StopIteration,
    "stop async iteration": StopAsyncIteration,
    "exit": lambda: SystemExit(3),
    "exit with text": lambda: SystemExit("good bye"),
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "generator exit": GeneratorExit,
    "base exception": lambda: BaseException("bare"),
    "rude": lambda: Rude("no manners"),
    "rude text": RudeText,
    "silent": Silent,
    "leaving text": Leaving,
    "text that is none": NotText,
    "no representation": lambda: NoRepresentation("x"),
    "no class": lambda: NoClass("x"),
    "no attributes": lambda: NoAttributes("x"),
    "of a nameless class": lambda: OfNamelessClass("x"),
    "group of no class": lambda: ExceptionGroup("one", [NoClass("x")]),
    "arguments that leave": lambda: ValueError(Hidden()),
    "recursion": lambda: RecursionError("too deep"),
    "memory": MemoryError,
    "timeout": TimeoutError,
    "broken pipe": BrokenPipeError,
    "end of file": EOFError,
    "no such file": lambda: FileNotFoundError(2, "No such file", "/somewhere"),
    "assertion": lambda: AssertionError({"not": "text"}),
    "surrogate": lambda: ValueError("half \ud800 a character"),
    "null byte": lambda: ValueError("a\x00b\nc"),
    "long": lambda: ValueError("x" * 1_000_000),
    "group": lambda: ExceptionGroup("two", [ValueError("one"), KeyError("other")]),
    "rude group": lambda: BaseExceptionGroup("two", [SystemExit(4), KeyboardInterrupt()]),
    "silent group": lambda: ExceptionGroup("two", [Silent(), Leaving()]),
    "lying group": lambda: LyingGroup("lies", [ValueError("one")]),
    "wide group": lambda: ExceptionGroup("many", [ValueError("x" * 1000) for _ in range(1000)]),
    "long name": lambda: type("N" * 100_000, (Exception,), {})("named"),
    "surrogate name": lambda: type("N\udfff", (Exception,), {})("named"),
    "cyclic data": lambda: ComponentError("data", data=cyclic()),
    "deep data": lambda: ComponentError("data", data=deep(100_000)),
    "data that leaves": lambda: ComponentError("data", data={"x": Hidden()}),
    "not a number in data": lambda: ComponentError("data", data=[float("nan")]),
    "surrogate in data": lambda: ComponentError("data", data="\ud800"),
    "large data": lambda: ComponentError("data", data="x" * 5_000_000),
    "message that leaves": lambda: ComponentError(Hidden()),  # type: ignore[arg-type]  # not even text
    "message that is none": lambda: ComponentError(None),  # type: ignore[arg-type]
    "code that is none": odd_code,
    "code beyond 64 bits": large_code,
    "retryable with odd data": lambda: ComponentError("again", data={object(): 1}, retryable=True),
    "resource": lambda: ResourceUnavailable("busy"),
    "invalid input": lambda: InvalidInput("bad", data={"problems": []}),
}
DOINGS: dict[str, Callable[[], object]] = {
    "real recursion": dive,
    "real memory": lambda: "x" * (1 << 62),
    "deep group": lambda: raise_group(500),
    "causes in circles": raise_in_circles,
    "sys.exit": lambda: sys.exit(5),
    "exit in a with": lambda: contextlib.ExitStack().enter_context(contextlib.closing(None)),  # type: ignore[type-var]
    "syntax": lambda: compile("(" * 1000, "x", "exec"),
    "warning as error": lambda: warnings.warn("x", category=5, stacklevel=1),  # type: ignore[call-overload]
}


def blow(how: str) -> None:
    if how in DOINGS:
        DOINGS[how]()
    raise ERRORS[how]()


@server.component("raise/async")
async def raise_async(how: str) -> None:
    blow(how)


@server.component("raise/later")
async def raise_later(how: str) -> None:
    await asyncio.sleep(0)
    blow(how)


@server.component("raise/thread")
def raise_thread(how: str) -> None:
    blow(how)


@server.component("raise/inline", run_in_thread=False)
def raise_inline(how: str) -> None:
    blow(how)


@dataclasses.dataclass
class Blowing:
    how: str

    def __post_init__(self) -> None:
        blow(self.how)


class BlowingStruct(msgspec.Struct):
    how: str

    def __post_init__(self) -> None:
        blow(self.how)


@server.component("read/dataclass")
async def read_dataclass(input: Blowing) -> str:
    return input.how


@server.component("read/struct")
def read_struct(input: BlowingStruct) -> str:
    return input.how


@server.component("read/fields")
async def read_fields(first: BlowingStruct, second: int = 1) -> str:
    return first.how


# ---- what is returned -----------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = object()


async def nothing() -> None:
    pass


def cyclic_dict() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["self"] = made
    return made


def abandoned() -> Any:
    coroutine = nothing()
    coroutine.close()
    return coroutine


OUTPUTS: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "infinity": lambda: [float("inf")],
    "minus infinity": lambda: {"x": float("-inf")},
    "cyclic list": cyclic,
    "cyclic object": cyclic_dict,
    "deep": lambda: deep(100_000),
    "object": object,
    "65 bits": lambda: 2**64,
    "minus 64 bits": lambda: -(2**63) - 1,
    "thousand digits": lambda: 10**1000,
    "odd keys": lambda: {object(): 1},
    "tuple keys": lambda: {(1, 2): 1},
    "surrogate": lambda: "\ud800",
    "surrogate key": lambda: {"\udfff": 1},
    "generator": lambda: (n for n in range(3)),
    "coroutine": abandoned,
    "class": lambda: Silent,
    "function": lambda: blow,
    "module": lambda: os,
    "exception": lambda: ValueError("not raised"),
    "enum": lambda: Colour.RED,
    "decimal nan": lambda: decimal.Decimal("nan"),
    "lock": threading.Lock,
    "file": lambda: sys.stderr,
    "leaving": Hidden,
}


@server.component("output/async")
async def output_async(how: str) -> Any:
    return OUTPUTS[how]()


@server.component("output/thread")
def output_thread(how: str) -> Any:
    return OUTPUTS[how]()


@server.component("output/int")
def output_int(value: Any) -> int:
    return value  # type: ignore[no-any-return]  # the caller decides what is returned


@server.component("output/large")
def output_large(size: int) -> str:
    return "é" * size


# ---- what is done besides -------------------------------------------------------------------------------------


def print_forgery() -> None:
    print('{"jsonrpc":"2.0","id":"forged","result":{}}')
    print("x" * 1_000_000, flush=True)


def write_descriptor() -> None:
    os.write(1, b'{"jsonrpc":"2.0","id":"forged","result":{}}\n')


def write_original() -> None:
    original = sys.__stdout__
    if original is not None:
        original.write('{"jsonrpc":"2.0","id":"forged","result":{}}\n')
        original.flush()


def write_binary() -> None:
    original = sys.__stdout__
    if original is not None:
        original.buffer.write(b"\xff\xfe\n")
        original.flush()


def run_child(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def read_stdin() -> Any:
    if sys.stdin.read() != "" or os.read(0, 10) != b"":
        raise RuntimeError("something was read")


def ask() -> None:
    with contextlib.suppress(EOFError):
        input("question? ")
        raise RuntimeError("something was read")


def close_stdout() -> None:
    sys.stdout.close()


def close_descriptor() -> None:
    os.close(1)
    # What is opened next gets the number; the server must not take it for its own.
    kept.append(os.open(os.devnull, os.O_WRONLY))


def lose_stdout() -> None:
    sys.stdout = None


def leave_thread() -> None:
    threading.Thread(target=forever.wait, daemon=False).start()


def leave_failing_thread() -> None:
    def fail() -> None:
        raise SystemExit(6)

    threading.Thread(target=fail).start()


def flood_log() -> None:
    log = logging.getLogger("flood")
    for count in range(5000):
        log.warning("record %d", count)


def log_oddly() -> None:
    log = logging.getLogger("odd")
    log.warning("%s")
    log.warning("%d", "no number")
    log.warning("\ud800 %s", Hidden.__name__)
    log.error("with nothing", exc_info=True)


def stop_logging() -> None:
    logging.shutdown()


def write_stderr() -> None:
    for _ in range(50):
        sys.stderr.write("e" * 1000 + "\n")


def fork_child() -> None:
    process = multiprocessing.get_context("spawn").Process(target=print, args=["from another process"])
    process.start()
    process.join()


def fork_and_leave() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what is tried here
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def raise_warning() -> None:
    warnings.warn("look out", stacklevel=1)


def change_directory() -> None:
    os.chdir("/")


DEEDS: dict[str, Callable[[], object]] = {
    "prints a reply": print_forgery,
    "writes to descriptor 1": write_descriptor,
    "writes to the first stdout": write_original,
    "writes what is no text": write_binary,
    "has a child that prints": lambda: run_child("print('from a child')"),
    "has a child that reads stdin": lambda: run_child("import sys; assert sys.stdin.read() == ''"),
    "has a child that looks for the wire": lambda: run_child(
        "import os\nfor n in range(3, 64):\n try: os.write(n, b'forged\\n')\n except OSError: pass"
    ),
    "reads stdin": read_stdin,
    "asks a question": ask,
    "closes stdout": close_stdout,
    "closes descriptor 1": close_descriptor,
    "has no stdout": lose_stdout,
    "leaves a thread": leave_thread,
    "leaves a thread that fails": leave_failing_thread,
    "floods the log": flood_log,
    "logs oddly": log_oddly,
    "stops the log": stop_logging,
    "writes to stderr": write_stderr,
    "has another process": fork_child,
    "forks": fork_and_leave,
    "warns": raise_warning,
    "changes the directory": change_directory,
}


@server.component
def do(how: str) -> str:
    DEEDS[how]()
    return "done"


@server.component("do/async")
async def do_async(how: str) -> str:
    DEEDS[how]()
    return "done"


async def stubborn() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def fail_later(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def leave_at_the_end() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        sys.exit(4)


TASKS: dict[str, Callable[[], Any]] = {
    "waits": lambda: asyncio.Event().wait(),
    "is stubborn": stubborn,
    "fails": lambda: fail_later(ValueError("nobody looks")),
    "is cancelled": lambda: fail_later(asyncio.CancelledError()),
    "exits": lambda: fail_later(SystemExit(4)),
    "is interrupted": lambda: fail_later(KeyboardInterrupt()),
    "exits at its end": leave_at_the_end,
}


@server.component("leave/task")
async def leave_task(how: str) -> str:
    task = asyncio.ensure_future(TASKS[how]())
    kept.append(task)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "done"


def call_back(error: BaseException) -> None:
    def blow() -> None:
        raise error

    asyncio.get_running_loop().call_soon(blow)


def handle_badly() -> None:
    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    asyncio.get_running_loop().set_exception_handler(handle)
    call_back(ValueError("for the handler"))


def take_alarm() -> None:
    def ring(number: int, frame: object) -> None:
        raise TimeoutError("time is up")

    signal.signal(signal.SIGALRM, ring)
    # When the component waits: it is the loop that is to be rung at, also on a busy machine.
    asyncio.get_running_loop().call_soon(signal.setitimer, signal.ITIMER_REAL, 0.001)


def cancel_others() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


LOOPS: dict[str, Callable[[], None]] = {
    "stops it": lambda: asyncio.get_running_loop().stop(),
    "has a callback that exits": lambda: call_back(SystemExit("bye")),
    "has a callback that is interrupted": lambda: call_back(KeyboardInterrupt()),
    "has a callback whose exit cannot be printed": lambda: call_back(SystemExit(Hidden())),
    "has a handler that fails": handle_badly,
    "has an alarm that raises": take_alarm,
    "cancels all tasks but its own": cancel_others,
    "makes no more tasks": lambda: asyncio.get_running_loop().set_task_factory(lambda loop, coroutine: 1 / 0),  # type: ignore[arg-type]  # it is no factory
}


@server.component("leave/loop")
async def leave_loop(how: str) -> str:
    LOOPS[how]()
    if how != "makes no more tasks":
        await asyncio.sleep(0.01)
    return "done"


# ---- what goes on twice ---------------------------------------------------------------------------------------


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what is tried here
        return os.fork()


def end_of(child: int, how: str) -> int:
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if how == "raises":
        raise ValueError("in the child")
    if how == "exits":
        sys.exit(5)
    return 0


@server.component("fork/thread")
def fork_thread(how: str) -> int:
    return end_of(fork(), how)


@server.component("fork/inline", run_in_thread=False)
def fork_inline(how: str) -> int:
    return end_of(fork(), how)


@server.component("fork/async")
async def fork_async(how: str) -> int:
    return end_of(fork(), how)


@server.component("fork/later")
async def fork_later(how: str) -> int:
    child = fork()
    if not child:
        await asyncio.sleep(0)
    return end_of(child, how)


@server.component("fork/lasting")
def fork_lasting() -> int:
    child = fork()
    if not child:
        signal.pause()
    return child


@server.component("cancel/self")
async def cancel_self(wait: bool) -> str:
    task = asyncio.current_task()
    if task is not None:
        task.cancel()
    if wait:
        await asyncio.sleep(0)
    return "done"


# ---- what takes its time --------------------------------------------------------------------------------------


@server.component
def block() -> None:
    forever.wait()


@server.component("block/released")
def block_released() -> str:
    forever.set()
    return "released"


@server.component("wait/async")
async def wait_async() -> None:
    await asyncio.Event().wait()


@server.component("late", timeout=0.05)
def late() -> None:
    forever.wait()


@server.component("late/async", timeout=0.05)
async def late_async() -> None:
    await asyncio.Event().wait()


@server.component("late/stubborn", timeout=0.05)
async def late_stubborn() -> None:
    await stubborn()


@server.component("late/returns", timeout=0.05)
async def late_returns() -> str:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "all the same"


@server.component("late/raises", timeout=0.05)
async def late_raises() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise SystemExit(7)


# ---- calls back -----------------------------------------------------------------------------------------------


@server.component("call/async")
async def call_async(value: Any, ctx: StepflowContext) -> Any:
    return await ctx.put_blob(value)


@server.component("call/thread")
def call_thread(value: Any, ctx: BlockingContext) -> Any:
    return ctx.put_blob(value)


@server.component("get/async")
async def get_async(blob_id: str, ctx: StepflowContext) -> Any:
    return await ctx.get_blob(blob_id)


@server.component("get/thread")
def get_thread(blob_id: str, ctx: BlockingContext) -> Any:
    return ctx.get_blob(blob_id)


@server.component("get/int")
async def get_int(blob_id: str, ctx: StepflowContext) -> int:
    return await ctx.get_blob(blob_id, type=int)


@server.component("call/many")
async def call_many(count: int, ctx: StepflowContext) -> list[str]:
    return await asyncio.gather(*(ctx.put_blob(number) for number in range(count)))


outcomes: list[str] = []


@server.component("call/leave")
async def call_leave(ctx: StepflowContext) -> str:
    """Leave a task that waits for its call, and then makes another."""

    async def call() -> None:
        try:
            await ctx.put_blob("first")
        finally:
            try:
                await ctx.put_blob("second")
            except ResourceUnavailable as error:
                outcomes.append(error.message)

    kept.append(asyncio.ensure_future(call()))
    await asyncio.sleep(0)
    return "done"


@server.component("call/outcomes")
async def call_outcomes() -> list[str]:
    return outcomes


@server.component("skip")
async def skip(how: int) -> None:
    reason: Any = [None, "", "\ud800", "x" * 100_000, 5, Hidden()][how]
    raise SkipStep(reason)


if __name__ == "__main__":
    server.run()

"""Reads where a configuration keeps state: ``stateStore`` and ``storageConfig`` (section e of the flow format)."""

from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from stepflow_sdk.flows import did_you_mean
from stepflow_sdk.runtime.config_fields import Fields
from stepflow_sdk.runtime.stores.options import Retention, StateOptions

__all__ = ["read_state"]

_TYPES: Final = ("inMemory", "sqlite")
_UPSTREAM_TYPES: Final = {
    "filesystem": "blobs in files are not supported; use 'sqlite', which keeps them in the state file",
    "postgres": "it came with 0.13 and is not supported; use 'sqlite'",
}
_SQLITE_KEYS: Final = (
    "type",
    "databaseUrl",
    "maxConnections",
    "autoMigrate",
    "synchronous",
    "waitSecs",
    "retention",
)
_PARTS: Final = ("metadata", "blobs", "journal")


def read_state(root: Fields, working_directory: Path) -> StateOptions | None:
    """The state file of a configuration, or None for memory.

    Args:
        root: The configuration.
        working_directory: What the file is relative to.
    """
    old, new = root.inner("stateStore", "'stateStore'"), root.inner("storageConfig", "'storageConfig'")
    if old is None or new is None:
        fields = old or new
        return None if fields is None else _read(fields, working_directory)
    # Each of the two is of other versions: a configuration that both understand has both.
    first, second = _read(old, working_directory), _read(new, working_directory)
    if first != second:
        new.refuse("'stateStore' and 'storageConfig' say different things; say the same, or leave one out")
    return first


def _read(fields: Fields, working_directory: Path) -> StateOptions | None:
    if any(part in fields for part in _PARTS):
        return _read_parts(fields, working_directory)
    fields.need("type", "type: sqlite")
    kind = fields.text("type") or ""
    if kind not in _TYPES:
        hint = _UPSTREAM_TYPES.get(kind) or did_you_mean(kind, _TYPES) or f"known are {' and '.join(map(repr, _TYPES))}"
        fields.refuse(f"state cannot be kept in {kind[:60]!r}: {hint}", "type")
    if kind == "inMemory":
        fields.only(("type",))
        return None
    return _read_sqlite(fields, working_directory)


def _read_parts(fields: Fields, working_directory: Path) -> StateOptions | None:
    fields.only(_PARTS)
    fields.need("metadata", "metadata: {type: sqlite, databaseUrl: 'sqlite:state.db'}")
    states: list[StateOptions | None] = []
    for part in _PARTS:
        inner = fields.inner(part, f"{part!r} of the storage")
        if inner is not None:
            states.append(_read(inner, working_directory))
            if states[-1] != states[0]:
                fields.refuse(f"{part!r} is kept elsewhere than 'metadata', and this runtime keeps all in one", part)
    return states[0]


def _read_sqlite(fields: Fields, working_directory: Path) -> StateOptions | None:
    fields.only(_SQLITE_KEYS)
    fields.need("databaseUrl", "databaseUrl: 'sqlite:state.db?mode=rwc'")
    # It bounds connections to a pool that is not needed here; what is no number is a mistake all the same.
    fields.integer("maxConnections")
    path, create = _path_of(fields, fields.text("databaseUrl") or "")
    if path is None:
        return None
    return StateOptions(
        working_directory / path,
        create=create,
        auto_migrate=_flag(fields, "autoMigrate", default=True),
        synchronous=_synchronous(fields),
        wait=fields.number("waitSecs") or 0.0,
        retention=_retention(fields),
    )


def _path_of(fields: Fields, url: str) -> tuple[str | None, bool]:
    """The path in an URL, None for memory, and whether the file is made where there is none."""
    scheme, colon, rest = url.partition(":")
    if scheme != "sqlite" or not colon:
        fields.refuse(f"'databaseUrl' is 'sqlite:PATH' or 'sqlite://PATH', not {url[:80]!r}", "databaseUrl")
    path, _, query = rest.removeprefix("//").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    mode = options.pop("mode", "rw")
    if options:
        fields.refuse(
            f"'databaseUrl' has the unknown option {next(iter(options))[:40]!r}; known is 'mode'", "databaseUrl"
        )
    if path == ":memory:" or mode == "memory":
        return None, False
    if mode not in ("rw", "rwc"):
        fields.refuse(f"the mode {mode[:40]!r} of 'databaseUrl' is none of 'rwc', 'rw' and 'memory'", "databaseUrl")
    if not path:
        fields.refuse("'databaseUrl' has no path", "databaseUrl")
    return unquote(path), mode == "rwc"


def _synchronous(fields: Fields) -> Literal["full", "normal"]:
    value = fields.text("synchronous") or "full"
    if value not in ("full", "normal"):
        fields.refuse(f"'synchronous' is 'full' or 'normal', not {value[:40]!r}", "synchronous")
    return "full" if value == "full" else "normal"


def _flag(fields: Fields, key: str, *, default: bool) -> bool:
    value = fields.value(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        fields.refuse(f"{key!r} is true or false, not {str(value)[:40]!r}", key)
    return value


def _retention(fields: Fields) -> Retention | None:
    inner = fields.inner("retention", "'retention'")
    if inner is None:
        return None
    inner.only(("maxAgeSecs", "maxRuns"))
    return Retention(max_age=inner.number("maxAgeSecs"), max_runs=inner.integer("maxRuns"))

from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.errors import InvalidConfig
from stepflow_sdk.runtime import LocalRuntime, StateOptions, load_config
from stepflow_sdk.runtime.stores.options import Retention

BASE: dict[str, Any] = {
    "plugins": {"builtin": {"type": "builtin"}},
    "routes": {"/{*component}": [{"plugin": "builtin"}]},
}


def _state(folder: Path, **keys: Any) -> StateOptions | None:
    return load_config({**BASE, **keys}, working_directory=folder).state


@pytest.mark.parametrize("key", ["stateStore", "storageConfig"])
def test_the_keys_of_all_versions_name_a_state_file(tmp_path: Path, key: str) -> None:
    said = {
        "type": "sqlite",
        "databaseUrl": "sqlite:data/state.db?mode=rwc",
        "maxConnections": 5,
        "autoMigrate": False,
        "synchronous": "normal",
        "waitSecs": 2.5,
        "retention": {"maxAgeSecs": 60, "maxRuns": 7},
    }
    assert _state(tmp_path, **{key: said}) == StateOptions(
        tmp_path / "data/state.db",
        wait=2.5,
        synchronous="normal",
        auto_migrate=False,
        retention=Retention(max_age=60.0, max_runs=7),
    )
    assert _state(tmp_path, stateStore=said, storageConfig=said) == _state(tmp_path, **{key: said})


@pytest.mark.parametrize(
    ("url", "path", "create"),
    [
        ("sqlite:state.db", "state.db", False),
        ("sqlite://state.db?mode=rwc", "state.db", True),
        ("sqlite:///var/state.db", "/var/state.db", False),
        ("sqlite:a%20b.db?mode=rw", "a b.db", False),
        ("sqlite::memory:", None, False),
        ("sqlite://x?mode=memory", None, False),
    ],
)
def test_urls_of_databases_have_the_forms_of_upstream(tmp_path: Path, url: str, path: str | None, create: bool) -> None:
    state = _state(tmp_path, storageConfig={"type": "sqlite", "databaseUrl": url})
    assert state == (None if path is None else StateOptions(tmp_path / path, create=create))


def test_the_parts_of_a_storage_may_be_named_when_they_are_one(tmp_path: Path) -> None:
    sqlite = {"type": "sqlite", "databaseUrl": "sqlite:s.db"}
    for parts in ({"metadata": sqlite}, {"metadata": sqlite, "blobs": sqlite, "journal": sqlite}):
        assert _state(tmp_path, storageConfig=parts) == StateOptions(tmp_path / "s.db", create=False)
    assert _state(tmp_path, storageConfig={"metadata": {"type": "inMemory"}}) is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"stateStore": {"type": "sqlite"}}, "needs 'databaseUrl'"),
        ({"stateStore": {}}, "needs 'type'"),
        ({"stateStore": {"type": "sqllite"}}, "did you mean 'sqlite'"),
        ({"storageConfig": {"type": "filesystem"}}, "blobs in files are not supported"),
        ({"storageConfig": {"type": "postgres"}}, "not supported"),
        ({"storageConfig": {"type": "inMemory", "databaseUrl": "sqlite:x"}}, "unknown key 'databaseUrl'"),
        ({"storageConfig": {"type": "sqlite", "databaseURL": "sqlite:x"}}, "databaseUrl"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "postgres://x"}}, "'sqlite:PATH'"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:"}}, "no path"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x?mode=ro"}}, "none of 'rwc'"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x?cache=shared"}}, "unknown option .cache"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x", "maxConnections": "many"}}, "maxConnections"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x", "autoMigrate": 1}}, "true or false"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x", "synchronous": "off"}}, "'full' or 'normal'"),
        ({"storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x", "retention": {"maxAge": 1}}}, "maxAgeSecs"),
        (
            {
                "storageConfig": {
                    "metadata": {"type": "sqlite", "databaseUrl": "sqlite:x"},
                    "blobs": {"type": "inMemory"},
                }
            },
            "kept elsewhere",
        ),
        ({"storageConfig": {"blobs": {"type": "inMemory"}}}, "needs 'metadata'"),
        (
            {"stateStore": {"type": "inMemory"}, "storageConfig": {"type": "sqlite", "databaseUrl": "sqlite:x"}},
            "say different things",
        ),
    ],
)
def test_what_is_wrong_about_a_storage_is_told_with_its_place(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as caught:
        load_config({**BASE, **keys})
    assert any(key in str(caught.value) for key in keys)


async def test_a_runtime_keeps_state_where_its_configuration_says(tmp_path: Path) -> None:
    said = {"type": "sqlite", "databaseUrl": "sqlite:state.db?mode=rwc"}
    config = load_config({**BASE, "storageConfig": said}, working_directory=tmp_path)
    async with LocalRuntime(config=config) as runtime:
        await runtime.run({"output": 1}, run_id="kept")
    assert (tmp_path / "state.db").exists()
    async with LocalRuntime(state=tmp_path / "state.db") as runtime:
        assert await runtime.engine.runs.get("kept") is not None

"""Files with test cases: finding, reading and updating them (sections a.5 and g of the flow format)."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stepflow_sdk.errors import InvalidConfig, InvalidDocument, InvalidFlow
from stepflow_sdk.flows import MISSING, Document, Flow, is_mock_behaviors, load_flow, read_document, require_runnable
from stepflow_sdk.flows.files import MAX_FILE_BYTES
from stepflow_sdk.flows.rewriting import replace_outputs
from stepflow_sdk.flows.values import Json, is_object
from stepflow_sdk.runtime.config import Config
from stepflow_sdk.runtime.config_loader import CONFIG_NAMES, find_config, load_config

__all__ = ["Case", "CaseConfig", "CaseFile", "find_case_files", "update_case_file"]

_EXTENSIONS: Final = (".yaml", ".yml", ".json")
_NOT_ENTERED: Final = frozenset({"node_modules", "__pycache__"})
_FLOW_KEYS: Final = frozenset({"steps", "output"})
_TEST_CONFIG_NAMES: Final = tuple(name.replace("config.", "config.test.") for name in CONFIG_NAMES)


@dataclass(frozen=True, slots=True)
class Case:
    """One test case of a flow.

    Attributes:
        index: Its place in the list.
        name: Its name.
        input: What the flow is run on.
        output: The outcome that is expected, or `MISSING` when it is enough that the case runs.
        line: Where it stands in the file.
    """

    index: int
    name: str
    input: Json
    output: Json
    line: int | None = None


@dataclass(frozen=True, slots=True)
class CaseConfig:
    """Where the components of a file's cases come from; equal ones can share a runtime.

    Attributes:
        source: The path of a configuration, its content, or None where there is none.
        directory: What the paths in a content are relative to.
    """

    source: Path | Mapping[str, Any] | None
    directory: Path

    def load(self) -> Config | None:
        """Read the configuration.

        Raises:
            InvalidConfig: It cannot be read or used.
        """
        if self.source is None:
            return None
        base = None if isinstance(self.source, Path) else self.directory
        return load_config(self.source, working_directory=base)


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A file with test cases.

    Attributes:
        path: The file.
        flow: What is in it; None when it cannot be run.
        cases: The cases, in the order of the file.
        problem: Why it cannot be run.
    """

    path: Path
    flow: Flow | None = None
    cases: tuple[Case, ...] = ()
    problem: str | None = None

    def find_config(self) -> CaseConfig:
        """Find the configuration of the cases: ``test.configFile`` or ``test.config``, else one for tests, else any.

        One for tests is called ``stepflow-config.test.yml``, ``stepflow-config.test.yaml`` or the same with an
        underscore. It is looked for where configurations are: beside the flow, then in the current directory.

        Raises:
            InvalidConfig: One of the places has more than one.
        """
        test: Mapping[str, Any] = (None if self.flow is None else self.flow.test) or {}
        directory = self.path.parent
        if (name := test.get("configFile")) is not None:
            return CaseConfig((directory / name).resolve(), directory)
        if (content := test.get("config")) is not None:
            return CaseConfig(content, directory)
        found = _find_test_config(directory) or find_config(self.path)
        return CaseConfig(None if found is None else found.resolve(), directory)


def find_case_files(paths: Iterable[str | os.PathLike[str]]) -> list[CaseFile]:
    """Read the test cases of files, and of all files in folders.

    A file that is named must be a flow with test cases. In a folder, flows without a ``test`` section and files that
    are no flows are passed over, and so are hidden folders. What has test cases but cannot be run is in the list with
    its problem: upstream's command would leave it out without a word.

    Args:
        paths: Files and folders.
    """
    files: dict[Path, CaseFile] = {}
    for path in map(Path, paths):
        found = [_read(path)] if not path.is_dir() else map(_read_if_tested, _walk(path))
        for file in found:
            if file is not None:
                files.setdefault(file.path.resolve(), file)
    return list(files.values())


def update_case_file(file: CaseFile, outputs: Mapping[int, Json]) -> None:
    """Write outcomes into a file, as what its cases expect; the rest of a YAML file stays as it is.

    Args:
        file: The file.
        outputs: The new outputs, by the index of the case.

    Raises:
        InvalidDocument: The file cannot be read, changed or written, or its cases are others by now.
    """
    path = file.path.resolve()
    # Somebody may have edited the file while its cases ran.
    if _read(file.path).cases != file.cases:
        raise InvalidDocument(f"{file.path}: its cases have changed since they were read, so none is updated")
    try:
        # Without a translation of line ends, which are to stay what they are.
        text = path.read_bytes().decode("utf-8")
        changed = replace_outputs(text, outputs, is_json=path.suffix.lower() == ".json")
        _write(path, changed.encode())
    except OSError as error:
        raise InvalidDocument(f"{file.path}: cannot be updated: {error.strerror or error}") from None
    except InvalidDocument as error:
        raise InvalidDocument(f"{file.path}: {error.problem}") from None


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        stream.write(data)
    temporary = Path(stream.name)
    try:
        temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _find_test_config(directory: Path) -> Path | None:
    for place in (directory, Path()):
        found = [place / name for name in _TEST_CONFIG_NAMES if (place / name).is_file()]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InvalidConfig(f"{place.resolve()}: more than one configuration for tests: {names}")
        if found:
            return found[0]
    return None


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_ENTERED)
        for name in sorted(names):
            if name.lower().endswith(_EXTENSIONS) and (path := Path(place, name)).is_file():
                yield path


def _read(path: Path) -> CaseFile:
    try:
        return _cases_of(path, read_document(path, value_keys=is_mock_behaviors))
    except InvalidDocument as error:
        return CaseFile(path, problem=str(error))


def _read_if_tested(path: Path) -> CaseFile | None:
    try:
        document = read_document(path, value_keys=is_mock_behaviors)
    except InvalidDocument as error:
        # Folders hold much that is not ours; what speaks of test cases was meant to be run.
        return CaseFile(path, problem=str(error)) if _speaks_of_cases(path) else None
    value = document.value
    if not is_object(value) or value.get("test") is None:
        return None
    test = value["test"]
    if _FLOW_KEYS.isdisjoint(value) and not (is_object(test) and "cases" in test):
        return None
    return _cases_of(path, document)


def _speaks_of_cases(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES)
    except OSError:
        return False
    return b"test" in text and b"cases" in text


def _cases_of(path: Path, document: Document) -> CaseFile:
    try:
        flow = load_flow(document)
        require_runnable(flow, refuse_errors=True)
    except InvalidFlow as error:
        return CaseFile(path, problem=str(error))
    listed: list[dict[str, Json]] = [] if flow.test is None else flow.test.get("cases") or []
    cases = tuple(
        Case(
            index,
            case["name"],
            case["input"],
            case.get("output", MISSING),
            document.line(("test", "cases", index)),
        )
        for index, case in enumerate(listed)
    )
    problem = None if cases else f"{path}: the flow has no test cases; they are listed under test.cases"
    return CaseFile(path, flow, cases, problem)

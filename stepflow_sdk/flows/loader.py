"""Loads flows from files and from Python values."""

import os
from collections.abc import Mapping
from typing import Any

from stepflow_sdk.errors import InvalidDocument, InvalidFlow, InvalidValue
from stepflow_sdk.flows.diagnostics import INVALID, UNREADABLE, Diagnostic, Reporter, invalid_flow
from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.files import read_document
from stepflow_sdk.flows.flow_parser import read_flow
from stepflow_sdk.flows.source import Document
from stepflow_sdk.flows.values import is_mock_behaviors, plain


def load_flow(source: str | os.PathLike[str] | Mapping[str, Any] | Document | Flow) -> Flow:
    """Load a flow.

    Args:
        source: The path of a ``.json``, ``.yaml`` or ``.yml`` file; a document that is already parsed; what
            `read_document`, `parse_yaml` or `parse_json` gave; or a flow, which is given back.

    Raises:
        InvalidFlow: The file cannot be read, or the document has not the form of a flow. The message names file,
            line and JSON path, ``diagnostics`` lists every problem. What refers to a step that is not there is found
            by `check_flow`, not here.
    """
    if isinstance(source, Flow):
        return source
    if isinstance(source, Document):
        return read_flow(source.value, source=source, duplicates=source.duplicates)
    if not isinstance(source, (str, os.PathLike)):
        return parse_flow(source)
    try:
        document = read_document(source, value_keys=is_mock_behaviors)
    except InvalidDocument as error:
        raise _unreadable(error) from None
    return read_flow(document.value, source=document, duplicates=document.duplicates)


def parse_flow(document: object) -> Flow:
    """Parse a flow document that is a Python value: mappings, lists and JSON scalars.

    The flow has its own copy, so that changing the value afterwards does not change the flow.

    Raises:
        InvalidFlow: The value is not JSON, or has not the form of a flow.
    """
    try:
        value = plain(document)
    except InvalidValue as error:
        reporter = Reporter()
        reporter.add(INVALID, tuple(error.data["path"]), error.message)
        raise invalid_flow(reporter.findings) from None
    return read_flow(value)


def _unreadable(error: InvalidDocument) -> InvalidFlow:
    code, kind = UNREADABLE
    finding = Diagnostic(kind, code, "fatal", error.problem, file=error.file, line=error.line)
    return InvalidFlow(str(error), diagnostics=[finding.to_json()])

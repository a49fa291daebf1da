"""Rewrites a whole document of 0.7 or 0.8 (section a.6 of the flow format)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows.checks import require_runnable
from stepflow_sdk.flows.diagnostics import Diagnostic, Reporter
from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.expressions import Constant
from stepflow_sdk.flows.flow_parser import read_flow
from stepflow_sdk.flows.old_document import OldFlow, OldStep
from stepflow_sdk.flows.old_schemas import combined_schemas, foreign_references
from stepflow_sdk.flows.outdated import find_current, find_outdated
from stepflow_sdk.flows.source import Document
from stepflow_sdk.flows.upgrade.expressions import Rewriter
from stepflow_sdk.flows.upgrade.losses import Losses
from stepflow_sdk.flows.upgrade.running import keep_running
from stepflow_sdk.flows.values import Json, PathParts, is_array, is_object, plain

__all__ = ["Upgrade", "upgrade_flow"]

_MOVED: Final = ("inputSchema", "outputSchema", "variables")
_BUILTIN: Final = "/builtin/"
_FLOW_FIELDS: Final = ("workflow", "flow", "data")


class Upgrade(NamedTuple):
    """What an upgrade came to.

    Attributes:
        document: The document in the language of 0.9; the very same where it was in it already.
        findings: What the document means otherwise now (level ``error``), and what went without a loss (``warning``).
    """

    document: Json
    findings: list[Diagnostic]

    @property
    def is_kept(self) -> bool:
        """Whether the document means what it meant."""
        return all(finding.level == "warning" for finding in self.findings)


def upgrade_flow(document: Document | Mapping[str, Any]) -> Upgrade:
    """Rewrite a flow document of 0.7 or 0.8 in the language of 0.9.

    A flow means the same when each run that ended without a failure has the same outcome and runs the same steps, and
    each that failed still fails. Three things are not looked at: a path into a null result is null in 0.9 and was a
    failure; a component that skips its step makes it null in 0.9, and in the old languages the skip spread; and that
    values fit the schemas that the flow declares for them is taken for granted.

    Args:
        document: The document, from `read_document` where findings are to have lines.

    Raises:
        InvalidFlow: It is no flow in either language, or an old one that cannot be run, such as one that refers to a
            step that it does not have: it means nothing that could be kept.
    """
    source = document if isinstance(document, Document) else None
    value = document.value if isinstance(document, Document) else plain(document)
    flow = read_flow(value, source=source)
    reporter = Reporter(source)
    return Upgrade(_upgraded(value, flow, Losses(reporter)), reporter.findings)


def _upgraded(document: Json, flow: Flow, losses: Losses) -> Json:
    if not isinstance(flow, OldFlow):
        return document
    require_runnable(flow)
    return _Upgrader(document, flow, losses).upgrade()


class _Upgrader:
    def __init__(self, document: Mapping[str, Json], flow: OldFlow, losses: Losses) -> None:
        self._document = document
        self._flow = flow
        self._losses = losses
        self._rewriter = Rewriter(flow, losses)

    def upgrade(self) -> dict[str, Json]:
        schemas = self._schemas()
        upgraded: dict[str, Json] = {}
        for key, value in self._document.items():
            if key in _MOVED and schemas is not None:
                upgraded.setdefault("schemas", schemas)
            elif key == "steps" and value is not None:
                if schemas is not None:
                    upgraded.setdefault("schemas", schemas)
                upgraded[key] = [self._step(index, step) for index, step in enumerate(self._flow.steps)]
            elif key == "output":
                continue  # behind the steps, wherever it stands: it depends on when they are skipped
            elif key == "test" and is_object(value):
                upgraded[key] = self._test(value)
            elif key not in ("schema", "schemas", *_MOVED):
                upgraded[key] = value
        if "output" in self._document:
            output = self._rewriter.rewrite(self._document["output"], ("output",), "output")
            upgraded = _in_place(upgraded, "output", output, list(self._document))
        must = keep_running(self._flow, read_flow(upgraded), self._rewriter.skips, self._losses)
        steps: list[dict[str, Json]] = upgraded.get("steps") or []
        for step in steps:
            if step["id"] in must:
                step["mustExecute"] = True
        return upgraded

    def _step(self, index: int, step: OldStep) -> dict[str, Json]:
        raw: Mapping[str, Json] = self._document["steps"][index]
        path = ("steps", index)
        rewritten = self._rewriter.step_input(step, raw, path)
        never = self._rewriter.skips[step.id].condition is True
        upgraded: dict[str, Json] = {}
        for key, value in raw.items():
            if key == "mustExecute" and never:
                continue
            if key == "input":
                upgraded[key] = self._with_flows(step, rewritten, (*path, "input"))
            elif key == "inputSchema" and value is not None:
                said = "the schema of a step's input has no place in 0.9 and is left out; the component reports it"
                self._losses.remark((*path, key), said)
            elif key == "onError" and value is not None:
                if (on_error := self._on_error(step, value, (*path, key))) is not None:
                    upgraded[key] = on_error
            elif key not in ("skipIf", "inputSchema", "outputSchema"):
                upgraded[key] = value
        return upgraded

    def _on_error(self, step: OldStep, raw: Mapping[str, Json], path: PathParts) -> Json:
        on_error = step.old_on_error
        if on_error is None or on_error.action == "fail":
            return raw
        if on_error.action == "retry":
            said = "it was never retried, and 0.9 does retry; write it again if that is wanted"
            self._losses.remark(path, f"'retry' is left out: {said}")
            return None
        if on_error.action == "skip":
            return {"action": "useDefault", "defaultValue": None}
        if not isinstance(on_error.default, Constant):
            said = "the default of a failed step is a literal in 0.9, and this one refers to something"
            return self._without_default(f"{said}: put '$coalesce' around the references instead", path)
        rewritten = {**raw, "defaultValue": on_error.default.value}
        if find_outdated({"steps": [{"onError": rewritten}]}):
            return self._without_default("a default with '$from' in it makes a document one of 0.7 or 0.8", path)
        return raw if on_error.default.value is raw.get("defaultValue") else rewritten

    def _without_default(self, why: str, path: PathParts) -> Json:
        self._losses.add((*path, "defaultValue"), f"{why}; it is null now")
        return {"action": "useDefault", "defaultValue": None}

    def _schemas(self) -> dict[str, Json] | None:
        flow = self._flow
        outputs = {step.id: step.output_schema for step in flow.steps if step.output_schema is not None}
        parts: list[tuple[PathParts, Json]] = [((key,), self._document.get(key)) for key in _MOVED]
        parts += [(("steps", index, "outputSchema"), step.output_schema) for index, step in enumerate(flow.steps)]
        for path, schema in parts:
            for reference in foreign_references(schema)[:1]:
                self._losses.add(path, f"the reference {reference[:80]!r} leads elsewhere; write it as '#/$defs/NAME'")
        schemas, clashes = combined_schemas(flow.input_schema, flow.output_schema, flow.variables_schema, outputs)
        for name in clashes:
            self._losses.add((), f"two schemas define {name[:60]!r} under '$defs', and 0.9 has one; rename one of them")
        return schemas

    def _test(self, test: Mapping[str, Json]) -> dict[str, Json]:
        upgraded = {key: value for key, value in test.items() if key != "servers"}
        cases: list[Json] = []
        for index, case in enumerate(test.get("cases") or []):
            output = case.get("output")
            if is_object(output) and output.get("outcome") == "skipped":
                said = "no flow of 0.9 is skipped; the case expects nothing now: say what is to come out"
                self._losses.add(("test", "cases", index, "output"), said)
                cases.append({key: value for key, value in case.items() if key != "output"})
            else:
                cases.append(case)
        if "cases" in test:
            upgraded["cases"] = cases
        return upgraded

    # ---- flows inside -----------------------------------------------------------------------------------------

    def _with_flows(self, step: OldStep, input: Json, path: PathParts) -> Json:
        """Upgrade the flows that a builtin component is given; any other literal is data."""
        if not step.component.startswith(_BUILTIN) or not is_object(input):
            return input
        return {
            key: self._inner_flow(value, (*path, key, "$literal")) if key in _FLOW_FIELDS else value
            for key, value in input.items()
        }

    def _inner_flow(self, value: Json, path: PathParts) -> Json:
        inner = value.get("$literal") if is_object(value) else None
        if not is_object(inner) or not is_array(inner.get("steps")) or not find_outdated(inner) or find_current(inner):
            return value
        try:
            flow = read_flow(inner)
        except InvalidFlow as error:
            self._losses.add(path, f"the flow in here is not rewritten, for it cannot be read: {error}")
            return value
        return {**value, "$literal": _upgraded(inner, flow, self._losses.inside(path))}


def _in_place(upgraded: dict[str, Json], key: str, value: Json, order: list[str]) -> dict[str, Json]:
    """Add a field before those that follow it in an order."""
    behind = set(order[order.index(key) + 1 :])
    before = {name: item for name, item in upgraded.items() if name not in behind}
    return {**before, key: value, **{name: item for name, item in upgraded.items() if name in behind}}

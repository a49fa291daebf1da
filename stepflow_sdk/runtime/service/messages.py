"""The requests and answers of the REST API, in the spelling of 0.11 (section 11 of the dialects)."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from stepflow_sdk.protocol import FlowResult
from stepflow_sdk.protocol.runs import ItemStatistics

__all__ = [
    "Components",
    "ComponentsQuery",
    "ErrorAnswer",
    "EventsQuery",
    "FlowAnswer",
    "FlowVariables",
    "FoundBlob",
    "Health",
    "ItemDetails",
    "ItemList",
    "ItemResult",
    "Readiness",
    "ReadyState",
    "RunAnswer",
    "RunDetails",
    "RunList",
    "RunRequest",
    "RunSummary",
    "RunWait",
    "RunsQuery",
    "ServedComponent",
    "StepList",
    "StepRun",
    "StepStatusInfo",
    "StepsQuery",
    "StoreBlob",
    "StoreFlow",
    "StoredBlob",
    "StoredFlow",
]

Uuid: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Time: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Hash: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**31)]
RunState: TypeAlias = Literal["running", "completed", "failed", "cancelled", "paused", "recoveryFailed"]
StepState: TypeAlias = Literal["blocked", "runnable", "running", "completed", "skipped", "failed"]
ReadyState: TypeAlias = Literal["ready", "stopping", "overloaded", "failed"]
BlobKind: TypeAlias = Literal["flow", "data", "binary"]


class _Request(Struct, rename="camel", forbid_unknown_fields=True):
    pass


class _Answer(Struct, rename="camel", omit_defaults=True):
    pass


# ---- errors and health ------------------------------------------------------------------------------------------


class ErrorAnswer(_Answer):
    """Why a request was refused or failed; ``code`` is the status of the answer."""

    code: int
    message: str
    diagnostics: list[Any] | None = None


class Health(_Answer):
    """The service answers."""

    status: str
    timestamp: Time
    version: str
    service: str


class Readiness(_Answer):
    """Whether runs are taken."""

    status: ReadyState


# ---- components -------------------------------------------------------------------------------------------------


class ComponentsQuery(_Request):
    """What is listed of components."""

    include_schemas: bool = True


class ServedComponent(Struct, omit_defaults=True):
    """A component under the name that its plugin gives it; ``paths`` are those by which flows reach it."""

    component: str
    paths: list[str]
    plugin: str
    description: str | None = None
    input_schema: Any = None
    output_schema: Any = None


class Components(_Answer):
    """The components of all plugins, sorted by name."""

    components: list[ServedComponent]


# ---- flows ------------------------------------------------------------------------------------------------------


class StoreFlow(_Request):
    """A flow to be checked and, unless ``dryRun``, stored."""

    flow: dict[str, Any]
    dry_run: bool | None = False


class Diagnostics(_Answer):
    """What the checks of a flow found."""

    diagnostics: list[Any]
    num_fatal: Count
    num_error: Count
    num_warning: Count


class StoredFlow(_Answer):
    """The id of a flow; it is not stored after a dry run, or when a diagnostic is fatal."""

    flow_id: Hash
    stored: bool
    diagnostics: Diagnostics


class FlowAnswer(_Answer):
    """A stored flow, and its examples with the inputs of its test cases."""

    flow: dict[str, Any]
    flow_id: Hash
    all_examples: list[Any] = []


class FlowVariables(Struct, rename="camel"):
    """The variables of a flow: their JSON Schema, and the environment variables that may hold them."""

    flow_id: Hash
    schema: Any
    env_vars: dict[str, str]


# ---- runs -------------------------------------------------------------------------------------------------------


class RunRequest(_Request):
    """A stored flow and its inputs, one item each."""

    flow_id: str
    input: list[Any]
    overrides: dict[str, Any] | None = None
    variables: dict[str, Any] | None = None
    max_concurrency: Count | None = None
    wait: bool | None = False
    timeout_secs: Seconds | None = None


class RunsQuery(_Request):
    """Which runs are listed, newest first."""

    status: RunState | None = None
    flow_name: str | None = None
    root_run_id: Uuid | None = None
    parent_run_id: Uuid | None = None
    roots_only: bool | None = None
    max_depth: Count | None = None
    limit: Annotated[int, Meta(ge=0, le=1000)] = 100
    offset: Count = 0


class RunWait(_Request):
    """Whether an answer waits for the end of the run."""

    wait: bool | None = False
    timeout_secs: Seconds | None = None


class StepsQuery(_Request):
    """Of which item steps are listed; by default the worst state over all."""

    item_index: Count | None = None


class EventsQuery(_Request):
    """From where events are told: the ``id`` of the last one that is known. The header ``Last-Event-ID`` wins."""

    last_event_id: str | None = None


class RunSummary(Struct, rename="camel"):
    """The state of a run."""

    run_id: Uuid
    flow_id: Hash
    flow_name: str | None
    status: RunState
    items: ItemStatistics
    created_at: Time
    completed_at: Time | None
    root_run_id: Uuid
    parent_run_id: Uuid | UnsetType = UNSET


class ItemResult(_Answer):
    """The state of an item, and its outcome when it has ended."""

    item_index: Count
    status: RunState
    result: FlowResult | None = None
    completed_at: Time | None = None


class RunAnswer(RunSummary):
    """An accepted run; with ``wait`` the outcomes of its items, too."""

    results: list[ItemResult] | UnsetType = UNSET


class StepStatusInfo(_Answer):
    """The state of a step of an item."""

    step_id: str
    status: StepState


class ItemDetails(_Answer):
    """An item with its input, and the steps of it that have begun."""

    item_index: Count
    input: Any
    status: RunState
    steps: list[StepStatusInfo]
    completed_at: Time | None = None


class RunDetails(RunSummary):
    """The state of a run and of each of its items."""

    item_details: list[ItemDetails] | UnsetType = UNSET
    overrides: Any = UNSET


class RunList(_Answer):
    """Runs, newest first."""

    runs: list[RunSummary]


class ItemList(_Answer):
    """The items of a run by their index."""

    item_count: Count
    items: list[ItemResult]


class StepRun(_Answer):
    """A step of a run: its state, and its outcome where one item was asked for."""

    step_id: str
    component: str
    status: StepState
    attempt: Count | None = None
    result: FlowResult | None = None


class StepList(_Answer):
    """The steps of a run by their ids."""

    steps: dict[str, StepRun]


# ---- blobs ------------------------------------------------------------------------------------------------------


class StoreBlob(_Request):
    """A JSON value to be stored."""

    data: Any
    blob_type: BlobKind | None = "data"
    filename: str | None = None


class StoredBlob(_Answer):
    """The id of a blob, the SHA-256 of its content."""

    blob_id: Hash
    filename: str | None = None


class FoundBlob(_Answer):
    """A blob as JSON; that of bytes is their base64 text."""

    data: Any
    blob_type: BlobKind
    blob_id: Hash
    filename: str | None = None

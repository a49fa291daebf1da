"""The messages of ``runs/submit`` and ``runs/get`` ("Run Methods" of the overview): camelCase on the wire."""

from typing import Annotated, Any

from msgspec import Struct

from stepflow_sdk.protocol.outcomes import FlowResult
from stepflow_sdk.protocol.values import BlobIdField, ObservabilityContext, RawValue, UInt, shown_as

__all__ = [
    "GetRunProtocolParams",
    "ItemResult",
    "ItemStatistics",
    "RunStatusProtocol",
    "SubmitRunProtocolParams",
]


class SubmitRunProtocolParams(Struct, rename="camel", omit_defaults=True):
    """``runs/submit``, server to runtime: start a stored flow on one or more inputs.

    Attributes:
        wait: Answer when every item has ended, or ``timeout_secs`` seconds have passed.
        overrides: Step overrides, ``{"steps": {"<id>": {"value": ...}}}``.
        subflow_key: A UUID that is the same whenever the same call of the same step is made again; needed by
            runtimes from 0.10 on.
    """

    flow_id: BlobIdField
    inputs: list[RawValue]
    wait: bool = False
    timeout_secs: UInt | None = None
    max_concurrency: UInt | None = None
    overrides: dict[str, Any] | None = None
    subflow_key: str | None = None
    observability: ObservabilityContext | None = None


class GetRunProtocolParams(Struct, rename="camel", omit_defaults=True):
    """``runs/get``, server to runtime; ``result_order`` is ``by_index`` or ``by_completion``."""

    run_id: str
    wait: bool = False
    include_results: bool = False
    result_order: Annotated[str, shown_as(type="string", enum=["by_index", "by_completion"])] = "by_index"
    timeout_secs: UInt | None = None
    observability: ObservabilityContext | None = None


class ItemStatistics(Struct):
    """How many items of a run are in which state."""

    total: UInt
    completed: UInt
    running: UInt
    failed: UInt
    cancelled: UInt


class ItemResult(Struct, rename="camel", omit_defaults=True):
    """The outcome of one item; ``result`` is absent while it runs."""

    item_index: UInt
    status: str
    result: FlowResult | None = None
    completed_at: str | None = None


class RunStatusProtocol(Struct, rename="camel", omit_defaults=True):
    """Answer to both methods; times are RFC 3339, ``status`` is lower case.

    ``results`` is there after ``wait`` or ``includeResults``.
    """

    run_id: str
    flow_id: BlobIdField
    status: str
    items: ItemStatistics
    created_at: str
    flow_name: str | None = None
    completed_at: str | None = None
    results: list[ItemResult] | None = None

"""The bundled runtime: it loads flows, drives component servers, and keeps blobs and runs."""

from stepflow_sdk.runtime.blobs import Blob, BlobKind, BlobStat, BlobStore, MemoryBlobStore
from stepflow_sdk.runtime.blocking import BlockingRuntime
from stepflow_sdk.runtime.config import Config
from stepflow_sdk.runtime.config_loader import find_config, load_config
from stepflow_sdk.runtime.engines import FlowEngine
from stepflow_sdk.runtime.events import ItemEnded, RunEnded, RunEvent, RunStarted, StepEnded, StepRetried, StepStarted
from stepflow_sdk.runtime.local import LocalRuntime
from stepflow_sdk.runtime.orchestrator import OrchestratorRuntime
from stepflow_sdk.runtime.remote_runtime import RemoteRuntime
from stepflow_sdk.runtime.resuming import ResumedRun
from stepflow_sdk.runtime.retries import Backoff, RetryPolicy
from stepflow_sdk.runtime.run_metrics import RuntimeMetrics
from stepflow_sdk.runtime.runs import ItemRecord, PendingItem, RunQuery, RunRecord, RunStore, StepRecord
from stepflow_sdk.runtime.stores.memory_runs import MemoryRunStore
from stepflow_sdk.runtime.stores.options import StateOptions

__all__ = [
    "Backoff",
    "Blob",
    "BlobKind",
    "BlobStat",
    "BlobStore",
    "BlockingRuntime",
    "Config",
    "FlowEngine",
    "ItemEnded",
    "ItemRecord",
    "LocalRuntime",
    "MemoryBlobStore",
    "MemoryRunStore",
    "OrchestratorRuntime",
    "PendingItem",
    "RemoteRuntime",
    "ResumedRun",
    "RetryPolicy",
    "RunEnded",
    "RunEvent",
    "RunQuery",
    "RunRecord",
    "RunStarted",
    "RunStore",
    "RuntimeMetrics",
    "StateOptions",
    "StepEnded",
    "StepRecord",
    "StepRetried",
    "StepStarted",
    "find_config",
    "load_config",
]

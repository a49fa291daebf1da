"""The bundled runtime: it loads flows, drives component servers, and keeps blobs and runs."""

from stepflow_sdk.runtime.blobs import Blob, BlobStore, MemoryBlobStore
from stepflow_sdk.runtime.blocking import BlockingRuntime
from stepflow_sdk.runtime.config import Config
from stepflow_sdk.runtime.config_loader import find_config, load_config
from stepflow_sdk.runtime.events import ItemEnded, RunEnded, RunEvent, RunStarted, StepEnded, StepRetried, StepStarted
from stepflow_sdk.runtime.local import LocalRuntime
from stepflow_sdk.runtime.retries import Backoff, RetryPolicy
from stepflow_sdk.runtime.runs import ItemRecord, MemoryRunStore, RunRecord, RunStore, StepRecord

__all__ = [
    "Backoff",
    "Blob",
    "BlobStore",
    "BlockingRuntime",
    "Config",
    "ItemEnded",
    "ItemRecord",
    "LocalRuntime",
    "MemoryBlobStore",
    "MemoryRunStore",
    "RetryPolicy",
    "RunEnded",
    "RunEvent",
    "RunRecord",
    "RunStarted",
    "RunStore",
    "StepEnded",
    "StepRecord",
    "StepRetried",
    "StepStarted",
    "find_config",
    "load_config",
]

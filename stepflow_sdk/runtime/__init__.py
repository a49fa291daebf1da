"""The bundled runtime: it loads flows, drives component servers, and keeps blobs and runs."""

from stepflow_sdk.runtime.blobs import Blob, BlobStore, MemoryBlobStore
from stepflow_sdk.runtime.blocking import BlockingRuntime
from stepflow_sdk.runtime.config import Config
from stepflow_sdk.runtime.config_loader import find_config, load_config
from stepflow_sdk.runtime.events import ItemEnded, RunEnded, RunEvent, RunStarted, StepEnded, StepStarted
from stepflow_sdk.runtime.local import LocalRuntime
from stepflow_sdk.runtime.runs import ItemRecord, MemoryRunStore, RunRecord, RunStore, StepRecord

__all__ = [
    "Blob",
    "BlobStore",
    "BlockingRuntime",
    "Config",
    "ItemEnded",
    "ItemRecord",
    "LocalRuntime",
    "MemoryBlobStore",
    "MemoryRunStore",
    "RunEnded",
    "RunEvent",
    "RunRecord",
    "RunStarted",
    "RunStore",
    "StepEnded",
    "StepRecord",
    "StepStarted",
    "find_config",
    "load_config",
]

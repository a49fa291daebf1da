"""What is fuzzed: everything that reads what strangers may have written."""

from collections.abc import Mapping

from stepflow_sdk_tests.soak.fuzzing.documents import DOCUMENTS
from stepflow_sdk_tests.soak.fuzzing.services import SERVICES
from stepflow_sdk_tests.soak.fuzzing.target import Target
from stepflow_sdk_tests.soak.fuzzing.wire import WIRE

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Target] = {**WIRE, **DOCUMENTS, **SERVICES}

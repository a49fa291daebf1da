"""Plans for flows of every language."""

from stepflow_sdk.flows import Flow, OldFlow
from stepflow_sdk.runtime.items import Plan
from stepflow_sdk.runtime.old_items import OldPlan

__all__ = ["make_plan"]


def make_plan(flow: Flow) -> Plan:
    """Make what the items of all runs of a flow share."""
    return OldPlan(flow) if isinstance(flow, OldFlow) else Plan(flow)

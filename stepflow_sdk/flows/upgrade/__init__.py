"""Rewriting documents of 0.7 and 0.8 in the language of 0.9."""

from stepflow_sdk.flows.upgrade.document import Upgrade, upgrade_flow

__all__ = ["Upgrade", "upgrade_flow"]

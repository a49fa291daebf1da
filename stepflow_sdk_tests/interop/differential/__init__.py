"""The same flows on the bundled runtime and on a published orchestrator."""

"""``python program.py TARGET CORPUS [options of libFuzzer]``: fuzz one target; needs atheris."""

import importlib
import sys
from typing import Any

# In an environment of its own, which type checkers do not see.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["stepflow_sdk"], enable_loader_override=False):
    from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()

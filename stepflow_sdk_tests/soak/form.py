"""``python -m stepflow_sdk_tests.soak.form NAME SECONDS``: one long test in a process of its own.

Each line on stdout is what it has come to up to then, as JSON; whatever else is printed goes to stderr.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module

import msgspec

from stepflow_sdk_tests.soak.report import Form

__all__ = ["FORMS"]

FORMS = {
    "kills": ("a runtime with a state file, killed with SIGKILL and resumed", 5),
    "power": ("what a power cut may leave of a state file, at any moment", 2),
    "faults": ("component servers killed, stopped, hung, flooding, restarted in the middle of steps", 2),
    "requests": ("good and bad requests to a server over stdio and over HTTP, and what they leave behind", 4),
    "fuzz": ("made-up bytes for everything that reads what strangers wrote", 3),
    "differential": ("random flows here and on a published orchestrator", 2),
}
"""What there is, what it does, and its share of the time."""


def main() -> None:
    """Run the test that the command line names; each lives in the module and the function of its name."""
    name, seconds = sys.argv[1], float(sys.argv[2])
    out = os.dup(1)
    os.dup2(2, 1)
    package = f"stepflow_sdk_tests.soak.{'fuzzing.' if name == 'fuzz' else ''}{name}"
    form: Form = getattr(import_module(package), name)
    with suppress(KeyboardInterrupt):  # who asks for the end has what was told
        for report in form(seconds):
            with open(out, "wb", closefd=False) as stream:
                stream.write(msgspec.json.encode(report) + b"\n")


if __name__ == "__main__":
    main()

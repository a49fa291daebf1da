"""``python -m stepflow_sdk_tests.supply``: check what the package brings with it, and say what could not be checked."""

import sys

from stepflow_sdk_tests.supply.advisories import check_advisories
from stepflow_sdk_tests.supply.licences import refused_licences
from stepflow_sdk_tests.supply.requirements import runtime_packages


def main() -> int:
    """1 when a licence is not allowed or a package has a known vulnerability."""
    packages = runtime_packages()
    refused = refused_licences(packages)
    checked = check_advisories(packages)
    print(f"licences: {len(packages)} packages, {len(refused)} with a licence that is not on the list")
    print(f"advisories: {checked.said}")
    for line in (*refused, *checked.finds):
        print(f"  {line}", file=sys.stderr)
    return 1 if refused or checked.finds else 0


if __name__ == "__main__":
    sys.exit(main())

import subprocess
import sys

import pytest

from stepflow_sdk_tests.interop.environments import PEER_070, InstallFailed, Package, python_of

pytestmark = pytest.mark.interop


def test_a_package_that_cannot_be_installed_is_told_in_one_line() -> None:
    package = Package("stepflow-py", "0.0.0")
    with pytest.raises(InstallFailed, match=r"^stepflow-py==0\.0\.0 could not be installed: [^\n]+$"):
        python_of(package)


def test_a_package_is_installed_outside_the_environment_of_the_project() -> None:
    code = "import stepflow_py; print(stepflow_py.__file__)"
    done = subprocess.run([python_of(PEER_070), "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(PEER_070.directory))
    missing = subprocess.run([sys.executable, "-c", "import stepflow_py"], capture_output=True, check=False)
    assert missing.returncode == 1

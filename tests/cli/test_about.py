"""`version` and `completion`."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version as installed

import pytest

import meerkat
from meerkat.cli.main import run


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """The program says what the package manager says, to people and programs."""
    assert meerkat.__version__ == installed("meerkat-sync")
    assert run(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"meerkat {meerkat.__version__}\n")
    assert run(["version", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["version"] == meerkat.__version__
    assert shown["protocol_min"] <= shown["protocol_max"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script asks this program for the words."""
    assert run(["completion", shell]) == 0
    assert "_MEERKAT_COMPLETE" in capsys.readouterr().out


def test_bash_accepts_its_script() -> None:
    """What is printed is valid for the shell that is to read it."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash on this machine")
    script = subprocess.run([sys.executable, "-m", "meerkat", "completion", "bash"], capture_output=True, check=True)
    done = subprocess.run([bash, "-n"], input=script.stdout, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_unknown_shell_is_a_usage_error() -> None:
    """Only shells that are known can be chosen."""
    assert run(["completion", "cmd"]) == 2

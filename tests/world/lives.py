"""Worlds lived in a process of their own, for tests.

The order of sets is fixed for a process at its start, and a seed means the same life only where that order is the same.
"""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent


def lived(*options: str) -> subprocess.CompletedProcess[str]:
    """What `python -m world` says."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"}
    environment.pop("MEERKAT_DIR", None)
    return subprocess.run(
        [sys.executable, "-m", "world", *options],
        env=environment,
        cwd=TESTS,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )

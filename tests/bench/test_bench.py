"""The bench measures real work and says so; what it measures is asserted nowhere."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parents[2]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=150,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def measured(*words: str) -> dict[str, dict[str, Any]]:
    """The lines of one workload, by who did it."""
    done = bench(*words, "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    (work,) = json.loads(done.stdout)
    return {line["who"]: line for line in work["lines"]}


@pytest.mark.e2e
def test_a_tiny_workload_is_measured() -> None:
    """Real nodes do the work, their content is compared, and the line holds time and the price of each process."""
    (cost,) = measured("small", "--scale", "0.002", "--rivals", "none")["Meerkat"]["costs"]
    assert set(cost["cpu_s"]) == {"ada", "ben"}
    assert all(peak > 0 for peak in cost["peak_bytes"].values())
    assert cost["message_bytes"] > 20 * 4096


@pytest.mark.e2e
def test_the_bare_stream_moves_all_bytes() -> None:
    """The ceiling beside which our figures stand has moved the same file."""
    lines = measured("big", "--scale", "0.001", "--rivals", "none")
    assert len(lines["bare gRPC stream"]["costs"]) == 1
    assert lines["bare gRPC stream"]["what"] == lines["Meerkat"]["what"]


def test_the_help_lists_every_workload() -> None:
    """Whoever asks for help sees what there is, and a misspelt workload is refused before anything runs."""
    shown = bench("--help").stdout
    for name in ("big", "small", "latency", "latency5", "busy", "edit", "rename", "move", "fanout", "idle", "restart"):
        assert f"  {name} " in shown
    for words in (["smal"], ["small", "--rivals", "rsyn"]):
        refused = bench(*words)
        assert refused.returncode == 2
        assert words[-1] in refused.stderr

"""The demo: it succeeds only when the folders are equal, and leaves nothing behind either way."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meerkat.cli import demo as demo_command
from meerkat.cli.demo import Show, run_demo
from meerkat.cli.demo_pool import DemoPool
from meerkat.cli.demo_steps import STEPS, Step
from meerkat.model.fault import Fault

pytestmark = pytest.mark.e2e


@pytest.fixture
def pool() -> Iterator[DemoPool]:
    with tempfile.TemporaryDirectory(prefix="mk") as base:  # socket paths are short
        pool = DemoPool(Path(base), web=False)
        yield pool
        pool.close()


@pytest.mark.timeout(300)
def test_the_demo_ends_with_equal_folders_and_cleans_up(tmp_path: Path) -> None:
    """`meerkat demo` takes every step, says so as JSON, exits with 0 and leaves no folder."""
    done = subprocess.run(
        [sys.executable, "-m", "meerkat", "demo", "--no-web", "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": tempfile.gettempdir(), "MEERKAT_NAME": "not for the children"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {step.title for step in STEPS} <= {line["step"] for line in lines}
    assert "3 folders are equal" in lines[-1]["step"]
    assert done.stderr == ""


def test_folders_that_stay_different_fail_the_demo(
    pool: DemoPool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node that is down cannot catch up: the demo says what differs, and stops every node that it started."""

    def split(pool: DemoPool) -> None:
        pool.stop(pool.nodes[1])
        (pool.nodes[0].folder / "only-here.txt").write_text("x")

    monkeypatch.setattr(demo_command, "STEP_TIMEOUT_S", 0.5)
    with pytest.raises(Fault) as caught:
        run_demo(pool, 2, Show(as_json=False), [Step("split", split)])
    assert caught.value.code == "not_equal"
    assert "only-here.txt" in caught.value.cause
    processes = [node.process for node in pool.nodes if node.process is not None]
    pool.close()
    assert processes
    assert all(process.poll() is not None for process in processes)


def test_a_check_that_fails_fails_the_demo(pool: DemoPool, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal folders are not enough where both versions of a conflict must be there."""

    def check(pool: DemoPool) -> str:
        raise Fault("demo_failed", "one edit is missing")

    with pytest.raises(Fault, match="one edit is missing"):
        run_demo(pool, 2, Show(as_json=False), [Step("nothing", lambda pool: None, check)])

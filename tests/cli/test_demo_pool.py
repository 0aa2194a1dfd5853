"""Processes of the demo: a node that fails is told with its last words, and every process is ended."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meerkat.cli import demo_pool
from meerkat.cli.demo_pool import DemoPool
from meerkat.model.fault import Fault

PLAYED = """
import json, os, sys, time
code = sys.stdin.readline().strip()
print(json.dumps({"event": "ready", "web": None}), flush=True)
open(os.path.join(sys.argv[2] if sys.argv[1] == "up" else sys.argv[3], "args"), "w").write(
    json.dumps([sys.argv[1:], code, os.environ["XDG_RUNTIME_DIR"], [k for k in os.environ if k.startswith("MEERKAT_")]])
)
time.sleep(60)
"""


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mk") as folder:
        yield Path(folder)


def played(base: Path, text: str) -> DemoPool:
    """A pool whose nodes are played by a few lines of Python."""
    return DemoPool(base, web=False, program=[sys.executable, "-c", text])


def test_nodes_are_started_as_a_person_would(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node gets a free local port, its own runtime folder, and the code on standard input; no variable leaks in."""
    monkeypatch.setenv("MEERKAT_LISTEN", "0.0.0.0:1")
    pool = played(base, PLAYED)
    try:
        pool.add("ada")
        pool.add("ben", "CODE")
        words, code, runtime, leaked = json.loads(_awaited(base / "ben" / "args"))
        assert words[:3] == ["join", "-", str(base / "ben")]
        assert "127.0.0.1:0" in words
        assert (code, runtime, leaked) == ("CODE", str(base / "run"), [])
    finally:
        pool.close()
    assert all(node.process is None for node in pool.nodes)


def _awaited(path: Path) -> str:
    while not path.exists() or not path.read_text():
        pass
    return path.read_text()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import sys; sys.exit('port taken')", "port taken"),
        ('import sys; sys.exit(\'{"error": {"code": "x", "message": "port taken"}}\')', "port taken"),
        ("print('hello')", "it said nothing"),
        ("print('{}')", "it said nothing"),
        ("import time; time.sleep(60)", "it said nothing"),
    ],
)
def test_a_node_that_does_not_come_up_is_told(
    base: Path, text: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo ends with what the node said last, be it nothing, and within bounds."""
    monkeypatch.setattr(demo_pool, "READY_TIMEOUT_S", 0.5)
    pool = played(base, text)
    with pytest.raises(Fault) as caught:
        pool.add("ada")
    pool.close()
    assert caught.value.cause == cause


def test_a_node_that_dies_ends_the_wait(base: Path) -> None:
    """Waiting for equality does not outlast a node that has gone."""
    pool = played(base, 'print(\'{"event": "ready"}\', flush=True)')
    node = pool.add("ada")
    assert node.process is not None
    node.process.wait(20)
    pool.nodes.append(demo_pool.DemoNode("ben", base, base / "ben.log"))
    (node.folder / "x").write_text("")
    with pytest.raises(Fault, match="ended by itself"):
        pool.await_equal(60)
    pool.nodes.pop()
    pool.close()


def test_a_failing_command_is_told(base: Path) -> None:
    """What a command of the demo says on stderr is the cause."""
    pool = played(base, "import sys; sys.exit('no such thing')")
    pool.nodes.append(demo_pool.DemoNode("ada", base, base / "ada.log"))
    with pytest.raises(Fault) as caught:
        pool.ask(pool.nodes[0], "status")
    assert caught.value.cause == "no such thing"

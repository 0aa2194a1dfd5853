"""`down` and `leave`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meerkat.cli import stop
from meerkat.cli.main import run
from meerkat.model.fault import Fault


def test_down_returns_when_the_node_is_gone(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """After 0 nothing answers for the folder any more, so it can be started again at once; then there is none: 3."""
    node.answers["down"] = {"pid": None}
    assert run(["down"]) == 0
    assert "meerkat up" in capsys.readouterr().out
    assert run(["down"]) == 3


def test_down_prints_what_the_node_said(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the node's answer."""
    node.answers["down"] = {"stopped": True}
    assert run(["down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": True}


def test_a_node_that_does_not_stop_is_told(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded, and says where to look."""
    monkeypatch.setattr(stop, "STOP_TIMEOUT_S", 0.2)
    with pytest.raises(Fault) as caught:
        stop.await_stop(node.folder, None)
    assert (caught.value.code, caught.value.exit_code) == ("still_running", 6)


def test_a_process_that_ended_is_not_alive() -> None:
    """Its own parent may not have reaped it yet; that does not make it alive."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert not stop._alive(child.pid)
    child.wait()
    assert not stop._alive(child.pid)
    assert stop._alive(os.getpid())


@pytest.mark.parametrize(("args", "yes"), [([], False), (["--yes"], True)])
def test_leave_asks_the_node(node: Any, args: list[str], yes: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """The node decides whether leaving is safe; the files stay, and that is said."""
    node.answers["leave"] = {}
    assert run(["leave", *args]) == 0
    assert node.asked == [("leave", {"yes": yes})]
    assert "Your files stay" in capsys.readouterr().out

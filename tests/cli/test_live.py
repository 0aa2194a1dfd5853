"""The live view: what it draws, and that it never outlives or outranks the node."""

import io
import time
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from meerkat.cli.live import LiveFace, Picture, draw
from meerkat.wire.control import ControlFault

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
READY = {"name": "ada", "dir": "/data/Shared", "web": None, "pid": 1, "listen": "127.0.0.1:1"}
INVITE = {"code": "C" * 80, "command": "meerkat join CODE DIR", "expires_at": "2026-01-02T12:30:00Z", "uses_left": 1}


def drawn(picture: Picture, columns: int = 100) -> str:
    console = Console(file=io.StringIO(), width=columns, highlight=False, markup=False, emoji=False)
    console.print(draw(picture, NOON))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_before_the_first_answer_it_says_that_it_starts() -> None:
    """The first picture comes before the node has answered anything."""
    assert 'node "ada" is starting' in drawn(Picture(READY))


def test_state_nodes_problems_and_changes_are_shown(node: Any) -> None:
    """One look tells how the pool stands, what needs a person and what happened, without what a terminal obeys."""
    picture = Picture(READY, node.answers["status"])
    picture.changes.append("12:00:00  file.applied  a.txt")
    text = drawn(picture)
    for part in ("attention", "12,408 files, 48 GB", "received 2.0 MB", "pi", "blocked", "1 conflict", "a.txt"):
        assert part in text
    assert "video\\x1b.mp4" in text
    assert "\x1b" not in text
    assert "Add a machine" not in text


def test_the_join_command_is_one_line_even_on_a_narrow_terminal(node: Any) -> None:
    """The command is longer than a terminal is wide; it is printed unbroken, so that it can be copied and pasted."""
    console = Console(file=io.StringIO(), width=40, highlight=False, markup=False, emoji=False)
    LiveFace(console)._print_command(INVITE, "/data/Shared")
    file = console.file
    assert isinstance(file, io.StringIO)
    assert f"  meerkat join {'C' * 80} /data/Shared" in file.getvalue().splitlines()
    text = " ".join(drawn(Picture(READY, node.answers["status"], INVITE), columns=40).split())
    assert "run the command above there, it is good for 30 min" in text
    assert "pi" in text


def test_many_nodes_do_not_push_the_rest_away(node: Any) -> None:
    """The table is bounded and says how many it leaves out."""
    nodes = node.answers["status"]["nodes"][1:] * 100
    text = drawn(Picture(READY, node.answers["status"] | {"nodes": nodes}))
    assert "and 84 more" in text
    assert len(text.splitlines()) < 40


def face() -> LiveFace:
    return LiveFace(Console(file=io.StringIO(), width=100, force_terminal=True))


def await_true(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_node_alone_shows_an_invite_and_a_pool_does_not(node: Any, last: Any) -> None:
    """While alone there is always a good invite on show, made once; with others there, nobody needs it."""
    status = node.answers["status"]
    node.answers |= {
        "status": status | {"nodes": status["nodes"][:1]},
        "invite": INVITE | {"expires_at": "2100-01-01T00:00:00Z"},
        "events": [last({})],
    }
    shown = face()
    shown.ready(READY | {"dir": str(node.folder)})
    picture = shown.picture
    assert picture is not None
    await_true(lambda: picture.invite)
    statuses = len([verb for verb, _ in node.asked if verb == "status"])
    await_true(lambda: len([verb for verb, _ in node.asked if verb == "status"]) > statuses + 1)
    assert [verb for verb, _ in node.asked].count("invite") == 1
    node.answers["status"] = status
    await_true(lambda: picture.invite is None)
    shown.close()
    shown.close()


def test_the_view_survives_a_node_that_refuses(node: Any) -> None:
    """Whatever the node answers, the view goes on, says why there is no invite, and ends when told to."""
    status = node.answers["status"]
    node.answers |= {"status": status | {"nodes": []}, "invite": ControlFault("refused", "not now")}
    shown = face()
    shown.ready(READY | {"dir": str(node.folder)})
    picture = shown.picture
    assert picture is not None
    await_true(lambda: any("not now" in line for line in picture.changes))
    node.stop_serving()
    shown.close()
    assert not shown.threads[0].is_alive()


def test_closing_a_view_that_never_opened_is_quiet() -> None:
    """A node that fails to start never gets a picture, and closing says nothing."""
    shown = face()
    shown.close()
    file = shown.console.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue() == ""

"""`meerkat status`: the answer first, then what to do."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from meerkat.cli.main import run
from meerkat.cli.status import status_lines

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def test_json_is_the_nodes_own_object(node: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get exactly what the node answered, on one line."""
    assert run(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == node.answers["status"]
    assert node.asked == [("status", {})]


def test_a_person_reads_state_numbers_nodes_and_needs(node: Any) -> None:
    """State and totals, the table, then each problem with node, cause and next step, and nothing that draws."""
    lines = status_lines(node.answers["status"], NOON)
    text = "\n".join(lines)
    assert lines[0] == "/data/Shared  attention"
    assert "12,408 files, 48 GB; all of it is here; 1 of 2 nodes up to date" in lines[1]
    assert "pi     blocked     14 files  60 min ago  192.0.2.7:7447  38 ms" in text
    assert "ada *  up to date  –         now" in text
    assert "video\\x1b.mp4 waits on pi: needs 210 MB, 90 MB free (free space on pi)" in text
    assert "1 conflict" in text
    assert "meerkat conflicts" in text


def test_what_is_to_come_is_told(node: Any) -> None:
    """A node that lacks something says how much."""
    shown = node.answers["status"] | {"behind": {"files": 31, "bytes": 5_000_000}, "held": 21}
    text = "\n".join(status_lines(shown, NOON))
    assert "31 files, 5.0 MB to come" in text
    assert "21 deletions held back" in text


def test_a_node_alone_is_told_what_comes_next(node: Any) -> None:
    """The first thing to do with a pool of one is to invite."""
    shown = node.answers["status"] | {"nodes": node.answers["status"]["nodes"][:1], "conflicts": 0, "problems": []}
    assert "meerkat invite" in "\n".join(status_lines(shown, NOON))


def test_a_pool_in_order_needs_nothing(node: Any) -> None:
    """When all is well there is no list of needs."""
    shown = node.answers["status"] | {"conflicts": 0, "problems": [], "state": "in_sync"}
    assert "Needs you" not in "\n".join(status_lines(shown, NOON))


def test_many_problems_are_summed_up(node: Any) -> None:
    """A thousand waiting paths do not hide the table."""
    problem = node.answers["status"]["problems"][0]
    lines = status_lines(node.answers["status"] | {"problems": [problem] * 1000}, NOON)
    assert len(lines) < 25
    assert "and 990 more" in lines[-1]


@pytest.mark.parametrize(("state", "code"), [("in_sync", 0), ("attention", 7), ("syncing", 7), ("alone", 7)])
def test_check_asks_for_in_sync(
    node: Any, state: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--check is 7 in every other state, from the variable too; without it the state is no error."""
    node.answers["status"] = node.answers["status"] | {"state": state}
    assert run(["status", "--check"]) == code
    assert run(["status"]) == 0
    monkeypatch.setenv("MEERKAT_CHECK", "1")
    assert run(["status"]) == code


def test_colour_only_where_it_is_seen(
    node: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off a terminal the text is plain; forced it has colour."""
    run(["status"])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(["status"])
    assert "\x1b[31mblocked" in capsys.readouterr().out


def test_a_node_that_was_taken_off_reads_what_to_do(node: Any) -> None:
    """Who refused it, what that means, and the way back."""
    text = "\n".join(status_lines(node.answers["status"] | {"refused_by": ["pi", "nas"]}, NOON))
    assert "pi, nas had this node for a member and refused it now" in text
    assert "join with a new invite" in text

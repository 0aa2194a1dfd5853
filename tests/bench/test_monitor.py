"""The file monitor for Unison: what changed is told once, with the words that Unison expects."""

from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("inotify_simple", reason="there is no inotify on this system")

from bench.monitor import Monitor


def looked(monitor: Monitor) -> list[str]:
    """What it has to say once inotify has told it something."""
    monitor.look()
    return monitor.news()


def test_a_change_is_announced_and_told_once(tmp_path: Path) -> None:
    """Whoever waits hears that there is something, asks what, and is not told again."""
    (tmp_path / "inner").mkdir()
    monitor = Monitor()
    assert monitor.hear("VERSION 1") == []
    assert monitor.hear(f"START hash {quote(str(tmp_path))}") == ["OK"]
    assert monitor.hear("DIR inner") == ["OK"]
    assert monitor.hear("DONE") == []
    assert monitor.hear("WAIT hash") == []
    (tmp_path / "inner" / "a file").write_text("x")
    assert looked(monitor) == ["CHANGES hash"]
    assert monitor.hear("CHANGES hash") == ["RECURSIVE inner/a%20file", "DONE"]
    assert monitor.hear("CHANGES hash") == ["DONE"]


def test_what_changed_before_the_waiting_is_announced_at_once(tmp_path: Path) -> None:
    """No change falls between two questions."""
    monitor = Monitor()
    monitor.hear(f"START hash {quote(str(tmp_path))}")
    (tmp_path / "file").write_text("x")
    assert looked(monitor) == []
    assert monitor.hear("WAIT hash") == ["CHANGES hash"]
    assert monitor.hear("WAIT other") == []


def test_a_scan_of_a_part_tells_paths_of_the_whole(tmp_path: Path) -> None:
    """Paths are relative to the replica, wherever in it the scan began; and after RESET it is silent."""
    (tmp_path / "part").mkdir()
    monitor = Monitor()
    monitor.hear(f"START hash {quote(str(tmp_path))} part")
    (tmp_path / "part" / "file").write_text("x")
    monitor.look()
    assert monitor.hear("CHANGES hash") == ["RECURSIVE part/file", "DONE"]
    monitor.hear("RESET hash")
    (tmp_path / "part" / "more").write_text("x")
    monitor.look()
    assert monitor.hear("WAIT hash") == []
    assert monitor.hear("CHANGES hash") == ["DONE"]


def test_a_word_that_nobody_knows_is_an_error() -> None:
    """Unison is told rather than left waiting."""
    (answer,) = Monitor().hear("SING loudly")
    assert answer.startswith("ERROR ")

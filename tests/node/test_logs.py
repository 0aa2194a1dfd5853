"""The node's log: one JSON object a line, in the folder, bounded, and nothing on the terminal."""

import json
import logging
from pathlib import Path

import pytest

from meerkat.node import logs
from meerkat.node.logs import start_logging, stop_logging


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_record_is_a_line_of_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """When, how grave, who, what; an error with its traceback, a name in any script, a newline in a name."""
    path = tmp_path / "meerkat.log"
    handler = start_logging(path, "info")
    try:
        log = logging.getLogger("meerkat.test")
        log.info("%s was put down", "日本\nb")
        log.debug("not this")
        try:
            raise ZeroDivisionError("oops")
        except ZeroDivisionError:
            log.exception("a step failed")
        log.warning("a name that is no text: %s", "\udcff")
    finally:
        stop_logging(handler)
    first, second, third = lines(path)
    assert (first["level"], first["logger"], first["message"]) == ("info", "meerkat.test", "日本\nb was put down")
    assert str(first["at"]).endswith("Z")
    assert "ZeroDivisionError: oops" in str(second["traceback"])
    assert third["level"] == "warning"
    assert capfd.readouterr() == ("", "")


def test_it_ends_with_the_node(tmp_path: Path) -> None:
    """Two nodes in one program do not write into each other's log for ever."""
    one, two = tmp_path / "1.log", tmp_path / "2.log"
    handler = start_logging(one, "info")
    stop_logging(handler)
    handler = start_logging(two, "warning")
    logging.getLogger("meerkat.test").warning("second")
    logging.getLogger("meerkat.test").info("too fine")
    stop_logging(handler)
    assert one.read_text() == ""
    assert [line["message"] for line in lines(two)] == ["second"]


def test_it_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is turned over, and one old one is kept."""
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 10_000)
    handler = start_logging(tmp_path / "meerkat.log", "info")
    for number in range(1000):
        logging.getLogger("meerkat.test").info("line %d", number)
    stop_logging(handler)
    found = sorted(tmp_path.iterdir())
    assert [each.name for each in found] == ["meerkat.log", "meerkat.log.1"]
    assert all(each.stat().st_size <= 10_000 for each in found)
    assert lines(found[0])[-1]["message"] == "line 999"

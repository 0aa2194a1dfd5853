"""The node's log: lines that programs can read, bounded, and only while the node runs."""

import json
import logging
from pathlib import Path

from meerkat.node.logs import start_logging, stop_logging


def test_a_line_is_an_object_with_its_traceback(tmp_path: Path) -> None:
    """Time, level, logger, message; an exception's traceback goes into the log and nowhere else."""
    path = tmp_path / "meerkat.log"
    handler = start_logging(path, "info")
    log = logging.getLogger("meerkat.somewhere")
    log.debug("not shown")
    log.info("a name with %s", "\u202e and \n")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it failed")
    stop_logging(handler)
    log.error("after the end")
    first, second = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert (first["level"], first["logger"], first["message"]) == (
        "info",
        "meerkat.somewhere",
        "a name with \u202e and \n",
    )
    assert first["at"].endswith("Z")
    assert "ValueError: broken" in second["traceback"]

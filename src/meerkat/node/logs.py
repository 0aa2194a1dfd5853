"""The node's own log: JSON lines in `.meerkat/log/meerkat.log`, bounded by rotation."""

import json
import logging
import logging.handlers
from pathlib import Path

from meerkat.model.limits import LOG_BYTES_MAX
from meerkat.node.hub import now_text


class JsonLines(logging.Formatter):
    """One JSON object a record: at, level, logger, message, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": now_text(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_logging(path: Path, level: str) -> logging.Handler:
    """Send everything of Meerkat's to that file, and nothing to the terminal. Returns the handler, to be stopped."""
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("meerkat")
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    logger.propagate = False
    return handler


def stop_logging(handler: logging.Handler) -> None:
    logging.getLogger("meerkat").removeHandler(handler)
    handler.close()

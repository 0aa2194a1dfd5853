"""`logs`: the node's log, read from its folder, so that it can be read when the node is down."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from meerkat.cli.events import clock
from meerkat.cli.folder import find_folder
from meerkat.cli.group import command
from meerkat.cli.options import dir_argument, json_option
from meerkat.cli.show import homely, neutral, say
from meerkat.model.fault import Exit, Fault
from meerkat.model.path import MARKER

FOLLOW_INTERVAL_S = 0.2
"""How often to look for more lines; a person cannot tell, and it costs one stat."""


@command("logs")
@dir_argument
@click.option("-f", "--follow", is_flag=True, help="Go on printing as lines are added.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="How many to print.")
@json_option
def logs(folder: str | None, follow: bool, lines: int, as_json: bool) -> None:
    """Print the node's log; works when it is down, too."""
    path = log_path(find_folder(folder))
    if not path.exists() and not follow:
        raise Fault("not_found", f"there is no log yet at {homely(str(path))}", exit_code=Exit.NOT_FOUND)
    for line in read_lines(path, lines, follow=follow):
        say(neutral(line) if as_json else log_line(line))


def log_path(folder: Path) -> Path:
    return folder / MARKER / "log" / "meerkat.log"


def log_line(line: str) -> str:
    """A line of the log for a person; one that is not JSON is shown as it is."""
    try:
        entry = json.loads(line)
        level, message = str(entry.pop("level", "")), str(entry.pop("message", ""))
        at = entry.pop("at", None)
        rest = " ".join(f"{key}={value}" for key, value in entry.items())
    except (ValueError, AttributeError, TypeError):
        return neutral(line)
    return neutral(f"{clock(at)} {level:<7} {message}  {rest}".rstrip())


def read_lines(path: Path, count: int, *, follow: bool) -> Iterator[str]:
    """The last `count` lines, then with `follow` whatever is added, also to a file that replaces this one."""
    log = _opened(path)
    if log is not None:
        yield from map(_text, deque(log, maxlen=count))
    half = b""  # a line still being written is given when it is whole
    while follow:
        for raw in log or ():
            half += raw
            if half.endswith(b"\n"):
                yield _text(half)
                half = b""
        if log is None or _replaced(log, path):
            # what was added to the old file before the rotation has been read above, or is read here
            rest = log.read() if log is not None else b""
            yield from map(_text, (half + rest).splitlines())
            log, half = _opened(path), b""
            if log is not None:
                continue
        time.sleep(FOLLOW_INTERVAL_S)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None  # not begun yet, or between a rotation's rename and the new file


def _replaced(log: BinaryIO, path: Path) -> bool:
    status = os.fstat(log.fileno())
    try:
        current = path.stat()
    except FileNotFoundError:
        return True
    return (current.st_dev, current.st_ino) != (status.st_dev, status.st_ino) or current.st_size < log.tell()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip("\n")

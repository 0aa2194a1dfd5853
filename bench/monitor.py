"""The file monitor that Unison asks for when it is to watch (`-repeat watch`), and that Debian's package lacks.

It speaks Unison's protocol of lines: `START`, `DIR` and `LINK` are answered with `OK` once the place is watched,
`CHANGES` with what changed since, and after `WAIT` the first change is announced. Paths are percent-encoded and
relative to the replica. Changes are announced as soon as inotify tells them, so that Unison is at its fastest.
"""

import os
import select
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from inotify_simple import INotify, flags

CHANGES = (
    flags.MODIFY
    | flags.ATTRIB
    | flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.DELETE_SELF
    | flags.ONLYDIR
)
GATHER_S = 0.005  # one save makes several events
READ_BYTES = 65536
PROTOCOL = "VERSION 1"


@dataclass
class Replica:
    """Attributes:
    root: the folder.
    start: where below it the scan goes on that is told about now.
    changed: paths below `root` that Unison has not been told yet.
    """

    root: bytes
    start: bytes = b""
    changed: set[bytes] = field(default_factory=set)


class Monitor:
    """Everything that one Unison process watches. Answers are lists of lines."""

    def __init__(self) -> None:
        self.inotify = INotify()
        self._replicas: dict[str, Replica] = {}
        self._places: dict[int, tuple[str, bytes]] = {}
        self._telling = ""
        self._waiting: set[str] = set()

    def hear(self, line: str) -> list[str]:
        """Carry out one command of Unison's."""
        command, *words = line.split(" ")
        if command != "WAIT":
            self._waiting.clear()
        match command:
            case "VERSION" | "DONE" | "DEBUG":
                return []
            case "START":
                return self._start(*words)
            case "DIR":
                return self._watch(unquote_to_bytes("".join(words)))
            case "LINK":
                return ["OK"]
            case "WAIT":
                self._waiting.add(words[0])
                return self.news()
            case "CHANGES":
                return self._tell(words[0])
            case "RESET":
                self._replicas.pop(words[0], None)
                return []
            case _:
                return [f"ERROR {quote_from_bytes(b'unknown command ' + command.encode())}"]

    def _start(self, name: str, root: str, start: str = "") -> list[str]:
        replica = self._replicas.setdefault(name, Replica(unquote_to_bytes(root)))
        replica.start = unquote_to_bytes(start)
        self._telling = name
        return self._watch(b"")

    def _watch(self, path: bytes) -> list[str]:
        replica = self._replicas[self._telling]
        below = b"/".join(part for part in (replica.start, path) if part)
        try:
            watch = self.inotify.add_watch(os.path.join(replica.root, below), CHANGES)
            self._places[watch] = (self._telling, below)
        except OSError:
            pass  # a file, or gone meanwhile: the folder above it tells
        return ["OK"]

    def look(self) -> None:
        """Take in what inotify has to tell."""
        time.sleep(GATHER_S)
        for event in self.inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                for replica in self._replicas.values():
                    replica.changed.add(b"")
            name, below = self._places.get(event.wd, ("", b""))
            if event.mask & flags.IGNORED:
                self._places.pop(event.wd, None)
            elif name in self._replicas:
                path = b"/".join(part for part in (below, os.fsencode(event.name)) if part)
                self._replicas[name].changed.add(path)

    def news(self) -> list[str]:
        """The announcement for which Unison waits, if there is one."""
        changed = [name for name in self._waiting if name in self._replicas and self._replicas[name].changed]
        if not changed:
            return []
        self._waiting.clear()
        return [f"CHANGES {' '.join(changed)}"]

    def _tell(self, name: str) -> list[str]:
        replica = self._replicas.get(name)
        changed: Iterable[bytes] = sorted(replica.changed) if replica else ()
        lines = [f"RECURSIVE {quote_from_bytes(path)}" for path in changed]
        if replica:
            replica.changed.clear()
        return [*lines, "DONE"]


def main() -> None:
    monitor = Monitor()
    pending = b""
    _say([PROTOCOL])
    while True:
        ready, _, _ = select.select([0, monitor.inotify], [], [])
        if monitor.inotify in ready:
            monitor.look()
            _say(monitor.news())
        if 0 in ready:
            data = os.read(0, READ_BYTES)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _say(monitor.hear(os.fsdecode(line).rstrip("\r")))


def _say(lines: list[str]) -> None:
    if lines:
        os.write(1, "".join(f"{line}\n" for line in lines).encode())


def install(folder: Path) -> None:
    """Put a program of the name that Unison looks for into a folder, which is to be on its PATH."""
    program = folder / "unison-fsmonitor"
    house = Path(__file__).resolve().parents[__package__.count(".") + 1]
    program.write_text(f"#!/bin/sh\nPYTHONPATH={house} exec {sys.executable} -m {__package__}.monitor\n")
    program.chmod(0o700)


if __name__ == "__main__":
    main()

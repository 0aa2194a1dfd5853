"""Whoever keeps folders the same, seen from outside: folders, processes, and a network of its own.

A workload is written once, against this shape: it changes the first folder, lets the change be carried, and waits for
what the others have to hold. Who watches carries by itself; rsync is run.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from .network import Network
from .usage import Cost, Gauge

Fill = Callable[[Path], None]
"""Puts into a folder what is there before its node starts. It gives every folder the same."""


class Team(Protocol):
    """Attributes:
    who: one of the names in `measure`.
    base: the temporary folder of all that is this team's.
    outside: a folder of the same file system, which nobody watches.
    folders: what is kept the same; edits are made in the first.
    """

    who: str
    base: Path
    outside: Path
    network: Network

    @property
    def folders(self) -> list[Path]: ...

    @property
    def pids(self) -> dict[str, int]:
        """The processes that live, by name."""
        ...

    def quiet(self) -> None:
        """Wait until all rest."""
        ...

    def carry(self) -> None:
        """Bring the change to the other folders; nothing for those who watch."""
        ...

    def gauge(self) -> "TeamGauge":
        """Begin to measure; the team should be quiet."""
        ...

    def sent(self) -> dict[str, int]:
        """Message bytes that each node says that it has sent since its start; empty where nobody says."""
        ...

    def stop(self, number: int) -> None: ...

    def start(self, number: int) -> None: ...

    def close(self) -> None: ...


class TeamGauge:
    """From the making until `read`: the caller's clock, and what all processes cost until they rest again."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._sent = team.sent()
        team.quiet()
        self._gauge = Gauge(team.pids, team.network)
        self._start = time.monotonic()

    def read(self, *, rest: bool = True) -> Cost:
        """Call when the goal is reached."""
        seconds = time.monotonic() - self._start
        if rest:
            self._team.quiet()
        cost = self._gauge.read(seconds)
        sent = self.sent()
        cost.message_bytes = sum(sent.values()) if sent else None
        return cost

    def sent(self) -> dict[str, int]:
        """Message bytes that each node has sent since the making."""
        return {name: count - self._sent.get(name, 0) for name, count in self._team.sent().items()}


def prepare(base: Path, names: Sequence[str], fill: Fill | None) -> tuple[Path, list[Path]]:
    """Make a team's folders: the one outside, and one for each name."""
    outside = base / "outside"
    outside.mkdir()
    folders = [base / name for name in names]
    for folder in folders:
        folder.mkdir()
        if fill is not None:
            fill(folder)
    return outside, folders

"""The live view of `up` and `join` on a terminal: how the pool stands, what happened last, how to add a machine.

It asks the control socket a few times per second from threads of its own; when the node is busy the picture waits,
never the node. What is drawn is a pure function of a `Picture`, so that a test can look at it.
"""

import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from meerkat.cli import ask
from meerkat.cli.events import clock, describe
from meerkat.cli.invite import join_command
from meerkat.cli.nodes import node_rows
from meerkat.cli.show import Cell, ahead, coloured, count, homely, moment, neutral, now, size, typed
from meerkat.cli.status import POOL_COLOURS
from meerkat.model.fault import Fault

REFRESH_S = 0.5
CHANGES_SHOWN = 8
NODES_SHOWN = 16
PROBLEMS_SHOWN = 4
NAME_COLUMNS_MIN = 8
JOIN_S = 1.0
ANSWER_TIMEOUT_S = 2.0
"""A status that takes longer is skipped; the next one will tell."""
FILE_EVENTS = ("file.changed", "file.applied", "file.failed", "conflict.", "node.", "hold.")


@dataclass
class Picture:
    """All that the view shows."""

    ready: dict[str, Any]
    status: dict[str, Any] | None = None
    invite: dict[str, Any] | None = None
    changes: deque[str] = field(default_factory=lambda: deque(maxlen=CHANGES_SHOWN))


def draw(picture: Picture, at: datetime) -> Group:
    """The view as of `at`."""
    status = picture.status
    name, folder = neutral(str(picture.ready["name"])), homely(str(picture.ready["dir"]))
    head = Text(f"{folder}  ", style="bold")
    if status is None:
        return Group(head + Text(f'node "{name}" is starting'))
    state = str(status["state"])
    head.append(state.replace("_", " "), style=POOL_COLOURS.get(state, ""))
    behind = status.get("behind", {})
    traffic = status.get("traffic", {})
    facts = [
        f"{count(int(status['files']), 'file')}, {size(int(status['bytes']))}",
        f"received {size(int(traffic.get('received_bytes', 0)))}, sent {size(int(traffic.get('sent_bytes', 0)))}",
    ]
    if behind.get("files"):
        facts.insert(1, f"{count(int(behind['files']), 'file')} ({size(int(behind['bytes']))}) to come")
    parts: list[Any] = [head, Text("  " + " · ".join(facts)), Text(), _nodes(status.get("nodes", []), at)]
    parts += _needs(status)
    if picture.invite:
        left = ahead(picture.invite["expires_at"], at)
        parts += [Text(), Text(f"Add a machine: run the command above there, it is good for {left}")]
    if picture.changes:
        parts += [Text(), *(Text(line, overflow="ellipsis", no_wrap=True) for line in picture.changes)]
    parts += [Text(), Text("Ctrl-C stops the node", style="dim")]
    if picture.ready.get("web"):
        parts.append(Text(f"Dashboard: {picture.ready['web']}", style="dim"))
    return Group(*parts)


def _nodes(nodes: list[dict[str, Any]], at: datetime) -> Table:
    head, *rows = node_rows(nodes, at)
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in head:
        grid.add_column(str(title), no_wrap=True, min_width=NAME_COLUMNS_MIN if title == "NODE" else None)
    for row in rows[:NODES_SHOWN]:
        grid.add_row(*(Text(cell.text, style=cell.colour) if isinstance(cell, Cell) else Text(cell) for cell in row))
    if len(rows) > NODES_SHOWN:
        grid.add_row(Text(f"and {len(rows) - NODES_SHOWN:,} more"))
    return grid


def _needs(status: dict[str, Any]) -> list[Text]:
    lines = []
    if status.get("conflicts"):
        lines.append(f"{count(int(status['conflicts']), 'conflict')}; both versions are kept: meerkat conflicts")
    if status.get("held"):
        lines.append(f"{count(int(status['held']), 'deletion')} held back until a person agrees")
    for problem in status.get("problems", [])[:PROBLEMS_SHOWN]:
        hint = f" ({problem['hint']})" if problem.get("hint") else ""
        lines.append(f"{problem['path']}: {problem['text']}{hint}")
    return [Text(), *(Text(neutral(line), style="yellow") for line in lines)] if lines else []


class LiveFace:
    """Draws the picture until the node stops."""

    as_json = False

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, markup=False, emoji=False, no_color=not _colours())
        self.closed = threading.Event()
        self.threads: list[threading.Thread] = []
        self.live: Live | None = None
        self.picture: Picture | None = None
        self.may_invite = True

    def ready(self, ready: dict[str, Any]) -> None:
        self.picture = Picture(ready)
        self.live = Live(draw(self.picture, now()), console=self.console, auto_refresh=False, transient=True)
        self.live.start()
        folder = Path(str(ready["dir"]))
        for task in (self._refresh, self._follow):
            thread = threading.Thread(target=task, args=(folder,), daemon=True, name=f"live{task.__name__}")
            thread.start()
            self.threads.append(thread)

    def _refresh(self, folder: Path) -> None:
        picture, live = self.picture, self.live
        while picture is not None and live is not None and not self.closed.is_set():
            try:
                picture.status = ask.call(folder, "status", {}, timeout_s=ANSWER_TIMEOUT_S)
                self._keep_invite(folder, picture)
            except Fault:
                pass  # starting or stopping; the last picture stays
            live.update(draw(picture, now()), refresh=True)
            self.closed.wait(REFRESH_S)

    def _keep_invite(self, folder: Path, picture: Picture) -> None:
        """While this node is alone, have a good invite on show; a pool of several asks for one when it wants one."""
        alone = len((picture.status or {}).get("nodes", [])) <= 1
        if not alone:
            picture.invite = None
            return
        expires = moment((picture.invite or {}).get("expires_at"))
        if (expires is None or expires <= now()) and self.may_invite:
            try:
                picture.invite = ask.call(folder, "invite", {})
                self._print_command(picture.invite, str(picture.ready["dir"]))
            except Fault as fault:
                picture.invite, self.may_invite = None, False
                picture.changes.append(f"no invite: {neutral(fault.message)}")

    def _print_command(self, made: dict[str, Any], folder: str) -> None:
        """Above the view and left to the terminal to wrap: a line that the view folded would be pasted in pieces."""
        self.console.print(Text("Run this on the next machine:"))
        self.console.print(Text(f"\n  {join_command(made, folder)}\n", style="bold"), soft_wrap=True)

    def _follow(self, folder: Path) -> None:
        while not self.closed.is_set():
            try:
                for event in ask.stream(folder, "events", {"since": None}):
                    if self.closed.is_set() or self.picture is None:
                        return
                    if str(event.get("type")).startswith(FILE_EVENTS):
                        self.picture.changes.append(f"{clock(event.get('at'))}  {describe(event)}")
            except Fault:
                pass
            self.closed.wait(REFRESH_S)

    def close(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        for thread in self.threads[:1]:  # the follower may sit in a stream until the process ends
            thread.join(JOIN_S)
        if self.live is not None and self.picture is not None:
            self.live.stop()
            folder = typed(str(self.picture.ready["dir"]))
            self.console.print(f"Stopped. Start again: meerkat up {folder}", soft_wrap=True)


def _colours() -> bool:
    return coloured(sys.stdout)

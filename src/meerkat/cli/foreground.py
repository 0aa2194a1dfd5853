"""Running a node in this process: signals in, an exit code out, and one of four faces towards whoever started it.

Invariant: a signal sets `stop` and nothing else; the engine ends in its own order. Only a second Ctrl-C breaks that
off, which the engine survives as it survives any crash. A face never slows the node: it listens over the control
socket like any other client, from a thread of its own.
"""

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from meerkat.cli import ask
from meerkat.cli.events import clock, describe
from meerkat.cli.plan import ask_yes, can_ask, holds_files, needs_merge, plan_lines
from meerkat.cli.show import homely, neutral, print_json, say, typed
from meerkat.model.config import Settings
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import OPEN_FILES_WANTED
from meerkat.model.path import MARKER

Plan = dict[str, Any]
Ready = dict[str, Any]
RunNode = Callable[
    [Settings, Callable[[Ready], None], asyncio.Event, Callable[[Plan], Awaitable[bool]] | None], Awaitable[None]
]

SPOKEN = ("pool.state", "node.", "conflict.", "hold.", "file.failed", "config.")
"""Events worth a line in a plain log; what happens to each file is for `meerkat events`."""


class Face(Protocol):
    """What the one who started the node gets to see."""

    as_json: bool

    def ready(self, ready: Ready) -> None:
        """Other nodes can connect now."""
        ...

    def close(self) -> None:
        """The node has stopped, or never came up. May be called twice."""
        ...


class JsonFace:
    """One line when ready, then silence. In the background it also lets go of the terminal and the pipes."""

    as_json = True

    def __init__(self, *, detached: bool = False) -> None:
        self.detached = detached

    def ready(self, ready: Ready) -> None:
        print_json(ready)
        if self.detached:
            _let_go(Path(str(ready["dir"])) / MARKER / "log")

    def close(self) -> None:
        pass


class QuietFace:
    """Nothing at all."""

    as_json = False

    def ready(self, ready: Ready) -> None:
        pass

    def close(self) -> None:
        pass


class PlainFace:
    """Lines: the node is up, and what happens to the pool. For journals and terminals that cannot be drawn on."""

    as_json = False

    def __init__(self) -> None:
        self.closed = threading.Event()

    def ready(self, ready: Ready) -> None:
        for line in ready_lines(ready):
            say(line)
        listener = threading.Thread(target=self._listen, args=(Path(str(ready["dir"])),), daemon=True, name="face")
        listener.start()

    def _listen(self, folder: Path) -> None:
        try:
            for event in ask.stream(folder, "events", {"since": None}):
                if self.closed.is_set():
                    return
                if str(event.get("type")).startswith(SPOKEN):
                    say(f"{clock(event.get('at'))}  {describe(event)}")
        except (Fault, OSError):
            pass  # the node is going down, or nobody reads us any more; neither concerns the node

    def close(self) -> None:
        self.closed.set()


def ready_lines(ready: dict[str, Any]) -> list[str]:
    """What a person needs to know of a node that has come up."""
    folder = homely(str(ready["dir"]))
    lines = [f'Node "{neutral(str(ready["name"]))}" runs for {folder}, pid {ready["pid"]}, {ready["listen"]}']
    if ready.get("web"):
        lines.append(f"Dashboard: {ready['web']}")
    lines.append(f"Add a machine: meerkat invite {typed(str(ready['dir']))}")
    return lines


def choose_face(settings: Settings, *, as_json: bool, progress: str, detached: bool) -> Face:
    """The face for these flags and this terminal."""
    if as_json:
        return JsonFace(detached=detached)
    if progress == "quiet":
        return QuietFace()
    if progress == "tty" or (progress == "auto" and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"):
        from meerkat.cli.live import LiveFace

        return LiveFace()
    return PlainFace()


def run_foreground(settings: Settings, face: Face, run_node: RunNode | None = None) -> int:
    """Run the node until it is told to stop, and return the exit code.

    Raises:
        Fault: what the engine found wrong, `needs_merge` (8), or `declined` (1).
    """
    raise_open_files()
    return asyncio.run(_run(settings, face, run_node or _engine()))


def raise_open_files() -> None:
    """Let this process have as many files open as it may: links, strangers at the port and the folder's work share
    them. (A program that runs a node inside itself is left as it is.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(OPEN_FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _engine() -> RunNode:
    from meerkat.node.run import run_node

    return run_node


async def _run(settings: Settings, face: Face, run_node: RunNode) -> int:
    stop = asyncio.Event()
    signals: list[int] = []

    def on_signal(number: int) -> None:
        if number == signal.SIGINT and signal.SIGINT in signals:
            face.close()
            os._exit(Exit.INTERRUPTED)
        signals.append(number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal, number)
    gate = Gate(settings, stop, as_json=face.as_json)
    try:
        await run_node(settings, face.ready, stop, gate if settings.invite else None)
    finally:
        face.close()
    if signal.SIGINT in signals:
        return Exit.INTERRUPTED
    if gate.refusal is not None:
        raise gate.refusal
    return Exit.DONE


class Gate:
    """Shows the plan of a join and says whether to go on; remembers why not."""

    def __init__(self, settings: Settings, stop: asyncio.Event, *, as_json: bool) -> None:
        self.settings = settings
        self.stop = stop
        self.as_json = as_json
        self.refusal: Fault | None = None

    async def __call__(self, plan: Plan) -> bool:
        folder = self.settings.directory
        if self.settings.dry_run:
            if self.as_json:
                print_json(plan)
            else:
                _say_all(plan_lines(folder, plan))
            return False
        if not holds_files(plan):
            return True
        if not self.as_json:
            _say_all(plan_lines(folder, plan))
        if self.settings.merge:
            return True
        if self.as_json or not can_ask():
            self.refusal = needs_merge(folder, plan)
            return False
        if await ask_yes("Go on?", self.stop):
            return True
        self.refusal = Fault("declined", "not joined; nothing was changed")
        return False


def _say_all(lines: list[str]) -> None:
    for line in lines:
        say(line)


def _let_go(log_folder: Path) -> None:
    """Point stdout to nowhere and stderr to a file, leave the session's directory: the starter can go away."""
    log_folder.mkdir(mode=0o700, exist_ok=True)
    nowhere = os.open(os.devnull, os.O_RDWR)
    errors = os.open(log_folder / "stderr.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.dup2(errors, 2)
    os.close(nowhere)
    os.close(errors)
    os.chdir("/")

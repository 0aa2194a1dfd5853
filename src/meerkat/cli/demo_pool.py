"""Real nodes on this machine, for the demo: started as a person would start them, and always stopped.

Invariant: every process started here is ended by `close`, by its own id, whatever happened before.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meerkat.cli.tree import Tree, TreeReader, differences
from meerkat.model.fault import Exit, Fault

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 60.0
POLL_S = 0.05


@dataclass
class DemoNode:
    """One node: its folder and, while it runs, its process."""

    name: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    web: str | None = None


class DemoPool:
    """The nodes of a demo in one temporary folder.

    Args:
        base: where everything goes; short, because socket paths are bounded.
        web: whether the nodes show their dashboards.
        program: how to start this program.
    """

    def __init__(self, base: Path, *, web: bool, program: list[str] | None = None) -> None:
        self.base = base
        self.web = web
        self.program = program or [sys.executable, "-m", "meerkat"]
        self.nodes: list[DemoNode] = []
        self.reader = TreeReader()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("MEERKAT_")}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # they start from compiled code, as installed ones do
        for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
            path = base / name
            path.mkdir(mode=0o700)
            self.environment[variable] = str(path)

    def add(self, name: str, code: str | None = None, fill: Callable[[Path], None] | None = None) -> DemoNode:
        """Make a folder and start its node, founding a pool or joining with `code`. What `fill` puts into the folder
        is there before."""
        folder = self.base / name
        folder.mkdir()
        if fill is not None:
            fill(folder)
        node = DemoNode(name, folder, self.base / f"{name}.log")
        self.nodes.append(node)
        words = ["up", str(folder)] if code is None else ["join", "-", str(folder), "--merge"]
        self._start(node, [*words, "--name", name, "--listen", "127.0.0.1:0"], code)
        return node

    def start(self, node: DemoNode) -> None:
        """Start a node again that was stopped or killed."""
        self._start(node, ["up", str(node.folder)], None)

    def _start(self, node: DemoNode, words: list[str], code: str | None) -> None:
        if not self.web:
            words = [*words, "--web", "off"]
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [*self.program, *words, "--json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        if node.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended at once; the missing ready line tells
                node.process.stdin.write(f"{code}\n".encode() if code else b"")
                node.process.stdin.close()
        ready = self._ready(node)
        node.web = ready.get("web")

    def _ready(self, node: DemoNode) -> dict[str, Any]:
        process = node.process
        if process is None or process.stdout is None:
            raise ValueError("the node was not started")
        overdue = threading.Timer(READY_TIMEOUT_S, process.kill)
        overdue.start()
        try:
            line = process.stdout.readline()
        finally:
            overdue.cancel()
        try:
            ready = json.loads(line)
        except ValueError:
            raise self._failed(node) from None
        if not isinstance(ready, dict) or ready.get("event") != "ready":
            raise self._failed(node)
        return ready

    def _failed(self, node: DemoNode) -> Fault:
        return Fault(
            "demo_failed",
            f'the node "{node.name}" did not come up',
            cause=_last_words(node.log.read_text("utf-8", "replace")),
            hint="run the demo with --keep and read the logs",
        )

    def ask(self, node: DemoNode, *words: str) -> Any:
        """What one of this program's commands prints as JSON for that node."""
        done = subprocess.run(
            [*self.program, *words, str(node.folder), "--json"],
            env=self.environment,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            said = _last_words(done.stderr.decode("utf-8", "replace"))
            raise Fault("demo_failed", f'"meerkat {" ".join(words)}" ended with {done.returncode}', cause=said)
        return json.loads(done.stdout)

    def stop(self, node: DemoNode, number: int = signal.SIGTERM) -> None:
        """End a node's process with a signal and wait until it is gone."""
        process = node.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
        node.process = None

    def await_equal(self, timeout_s: float) -> float:
        """Wait until all folders hold the same, and return how long that took in seconds.

        Raises:
            Fault: `not_equal` (6), naming what differs.
        """
        start = time.monotonic()
        while True:
            differing = self.compare()
            took = time.monotonic() - start
            if not differing:
                return took
            self._ensure_running()
            if took > timeout_s:
                raise Fault(
                    "not_equal",
                    f"the folders still differ after {timeout_s:.0f} s",
                    cause="; ".join(differing),
                    hint="run the demo with --keep and look at them",
                    exit_code=Exit.UNREACHABLE,
                )
            time.sleep(POLL_S)

    def compare(self) -> list[str]:
        """How the folders differ now; empty when they are equal."""
        return differences(self.trees())

    def trees(self) -> dict[str, Tree]:
        return {node.name: self.reader.read(node.folder) for node in self.nodes}

    def _ensure_running(self) -> None:
        for node in self.nodes:
            if node.process is not None and node.process.poll() is not None:
                raise Fault(
                    "demo_failed",
                    f'the node "{node.name}" ended by itself with {node.process.returncode}',
                    cause=_last_words(node.log.read_text("utf-8", "replace")),
                )

    def close(self) -> None:
        """Stop every node, the last one first."""
        for node in reversed(self.nodes):
            self.stop(node)


def _last_words(said: str) -> str:
    """What a process said last, read as the error object that `--json` makes of it where it is one."""
    lines = said.strip().splitlines()
    if not lines:
        return "it said nothing"
    try:
        return str(json.loads(lines[-1])["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return lines[-1]

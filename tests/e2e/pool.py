"""Real nodes for tests: processes in the foreground on loopback ports, real folders, real TLS, real disks.

Invariant: every process started here is ended by `close`, by its own id, whatever the test did before; the sockets and
state of one pool lie in a folder of its own, so pools of tests that run side by side never meet.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from e2e.tree import SHOWN_MAX, Reader, Tree, differences

T = TypeVar("T")

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 180.0
EQUAL_TIMEOUT_S = 180.0
POLL_S = 0.05
ASK_POLL_S = 0.15
"""Between two looks that mostly ask a node: each costs a process, and the machine has work to do."""
LOG_LINES_SHOWN = 40
PROGRAM = (sys.executable, "-m", "meerkat")


class Said(NamedTuple):
    """What a command answered: its exit code, the JSON on stdout, the error object on stderr."""

    exit: int
    out: Any
    error: dict[str, Any]
    stderr: str


class NotUp(Exception):
    """A node ended before it was ready; carries what it said."""

    def __init__(self, said: Said) -> None:
        super().__init__(f"the node ended with {said.exit}: {said.stderr}")
        self.said = said


@dataclass(eq=False)
class Node:
    """One node: its folder and, while it runs, its process.

    Attributes:
        within: words before the program, which let it run somewhere else (in a network of its own).
    """

    name: str
    folder: Path
    said: Path
    complained: Path
    within: tuple[str, ...] = ()
    listen: str = "127.0.0.1:0"
    process: subprocess.Popen[bytes] | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    frozen: bool = False
    gone: bool = False

    @property
    def id(self) -> str:
        return str(self.ready["node"])

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def path(self, name: str) -> Path:
        return self.folder / name


class Pool:
    """The nodes of one test.

    Args:
        base: where the folders go.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.nodes: list[Node] = []
        self.program: tuple[str, ...] = PROGRAM
        self.reader = Reader()
        self.private = Path(tempfile.mkdtemp(prefix="mk-"))  # short: the path of a Unix socket has 107 bytes
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("MEERKAT_")}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # they start from compiled code, as installed ones do
        for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
            (self.private / name).mkdir(mode=0o700)
            self.environment[variable] = str(self.private / name)
        self.environment["MEERKAT_WEB"] = "off"

    # ---- starting and ending nodes

    def node(self, name: str, folder: Path | None = None) -> Node:
        """A folder for a node that is not started yet."""
        folder = folder or self.base / name
        folder.mkdir(parents=True, exist_ok=True)
        node = Node(name, folder, self.private / f"{name}.out", self.private / f"{name}.err")
        self.nodes.append(node)
        return node

    def start(self, name: str, *flags: str) -> Node:
        """A new node that founds a pool."""
        return self.found(self.node(name), *flags)

    def found(self, node: Node, *flags: str) -> Node:
        """Found a pool in the folder of a node."""
        self._up(node, ["up", str(node.folder), "--name", node.name, "--listen", node.listen, *flags])
        return node

    def join(self, name: str, via: Node, *flags: str) -> Node:
        """A new node that joins through another."""
        return self.admit(self.node(name), via, *flags)

    def admit(self, node: Node, via: Node, *flags: str) -> Node:
        """Let the folder of a node join the pool of another."""
        self.join_with(node, self.invite(via), *flags)
        return node

    def join_with(self, node: Node, code: str, *flags: str) -> None:
        """Join with a code.

        Raises:
            NotUp: it was refused.
        """
        words = ["join", "-", str(node.folder), "--name", node.name, "--listen", node.listen, *flags]
        self._up(node, words, code)

    def restart(self, node: Node, *flags: str) -> None:
        """Start a node again that was stopped or killed."""
        self._up(node, ["up", str(node.folder), *flags])

    def launch(self, node: Node, *flags: str) -> None:
        """As `restart`, without waiting until it is ready."""
        self._spawn(node, ["up", str(node.folder), *flags], "")

    def _up(self, node: Node, words: Sequence[str], code: str = "") -> None:
        self._spawn(node, words, code)
        self.await_ready(node)

    def _spawn(self, node: Node, words: Sequence[str], code: str) -> None:
        assert not node.running, f"{node.name} runs already"
        with node.said.open("wb") as out, node.complained.open("ab") as err:
            node.process = subprocess.Popen(
                [*node.within, *self.program, *words, "--json", "--progress", "quiet"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env=self.environment,
                start_new_session=True,
            )
        assert node.process.stdin is not None
        try:
            node.process.stdin.write(code.encode() + b"\n")
            node.process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it read; `await_ready` tells why

    def await_ready(self, node: Node) -> None:
        """Wait for the first line of a node that was launched.

        Raises:
            NotUp: it ended before.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            assert node.process is not None
            ended = node.process.poll()
            line, newline, _ = node.said.read_bytes().partition(b"\n")
            if newline:
                node.ready = json.loads(line)
                assert node.ready["event"] == "ready", node.ready
                return
            if ended is not None:
                node.process = None
                raise NotUp(_said(ended, b"", node.complained.read_bytes()))
            assert time.monotonic() < deadline, f"{node.name} is not ready\n{self.report([node])}"
            time.sleep(POLL_S)

    def signal(self, node: Node, number: int) -> int:
        """Send a signal to a node and wait for its end; its exit code."""
        assert node.process is not None
        node.process.send_signal(number)
        return self.await_end(node)

    def await_end(self, node: Node) -> int:
        """Wait until a node's process has ended; its exit code."""
        assert node.process is not None
        try:
            code = node.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{node.name} does not end\n{self.report([node])}") from None
        node.process = None
        node.frozen = False
        return code

    def kill9(self, node: Node) -> None:
        """End a node as a power failure of its machine would, as far as processes go."""
        self.signal(node, signal.SIGKILL)

    def stop(self, node: Node) -> None:
        """End a node with SIGTERM; it must end well."""
        assert self.signal(node, signal.SIGTERM) == 0, self.report([node])

    def down(self, node: Node) -> None:
        """End a node with the command."""
        said = self.cli("down", node)
        assert said.exit == 0, said
        assert self.await_end(node) == 0, self.report([node])

    def freeze(self, node: Node) -> None:
        """Let a node do nothing: for the others it is as if its cable had been pulled."""
        assert node.process is not None
        node.process.send_signal(signal.SIGSTOP)
        node.frozen = True

    def thaw(self, node: Node) -> None:
        assert node.process is not None
        node.process.send_signal(signal.SIGCONT)
        node.frozen = False

    def destroy(self, node: Node) -> None:
        """A node's machine is gone for good, its disk with it."""
        self.kill9(node)
        self.destroy_folder(node)

    def destroy_folder(self, node: Node) -> None:
        """The disk of a node that does not run is gone for good."""
        shutil.rmtree(node.folder)
        node.gone = True

    def close(self) -> None:
        """End every process and take the private folder away."""
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
        for node in self.nodes:
            if node.process is not None:
                node.process.wait(STOP_TIMEOUT_S)
                node.process = None
        shutil.rmtree(self.private, ignore_errors=True)

    # ---- asking

    def cli(self, *words: str | Node, stdin: str = "") -> Said:
        """Run a command with `--json`; a node among the words stands for its folder."""
        texts = [str(word.folder) if isinstance(word, Node) else word for word in words]
        done = subprocess.run(
            [*PROGRAM, *texts, "--json"],
            env=self.environment,
            input=stdin.encode(),
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        return _said(done.returncode, done.stdout, done.stderr)

    def ask(self, *words: str | Node) -> Any:
        """The answer of a command that must succeed."""
        said = self.cli(*words)
        assert said.exit == 0, f"{words}: {said}"
        return said.out

    def invite(self, node: Node, *flags: str) -> str:
        """A fresh code."""
        return str(self.ask("invite", node, *flags)["code"])

    def status(self, node: Node) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("status", node)
        return answer

    def roster(self, node: Node) -> dict[str, dict[str, Any]]:
        """Name to row of `meerkat nodes`."""
        return {row["name"]: row for row in self.ask("nodes", node)}

    # ---- waiting

    def until(self, what: str, look: Callable[[], T], timeout_s: float = EQUAL_TIMEOUT_S) -> T:
        """Wait until `look` answers something true, and return that."""
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            self.ensure_alive()
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}\n{self.report()}"
            time.sleep(ASK_POLL_S)
        return found

    @property
    def live(self) -> list[Node]:
        return [node for node in self.nodes if node.running and not node.frozen]

    def trees(self, nodes: Iterable[Node] | None = None) -> dict[str, Tree]:
        return {node.name: self.reader.read(node.folder) for node in (self.live if nodes is None else nodes)}

    def wait_equal(self, *nodes: Node, timeout_s: float = EQUAL_TIMEOUT_S) -> Tree:
        """Wait until the folders of these nodes (or of all that are live) are equal; the tree that they show."""
        chosen = nodes or self.live
        assert len(chosen) > 1, "one folder is equal to itself"
        deadline = time.monotonic() + timeout_s
        while differing := differences(trees := self.trees(chosen)):
            self.ensure_alive()
            if time.monotonic() > deadline:
                shown = "\n  ".join(differing[:SHOWN_MAX])
                more = f"\n  and {len(differing) - SHOWN_MAX} more" if len(differing) > SHOWN_MAX else ""
                raise AssertionError(f"not equal after {timeout_s:.0f} s:\n  {shown}{more}\n{self.report()}")
            time.sleep(POLL_S)
        return trees[chosen[0].name]

    def wait_linked(self, *nodes: Node) -> None:
        """Wait until each of these nodes (or of all that are live) is linked with each other one."""
        chosen = nodes or tuple(self.live)

        def all_linked() -> bool:
            for node in chosen:
                linked = {name for name, row in self.roster(node).items() if row["link"] is not None}
                if not linked >= {other.name for other in chosen if other is not node}:
                    return False
            return True

        self.until(f"{', '.join(node.name for node in chosen)} are linked with each other", all_linked)

    def wait_settled(self, *nodes: Node) -> None:
        """Wait until these nodes (or all that are live) say that they are in sync, then that their folders agree."""
        chosen = nodes or tuple(self.live)
        for node in chosen:
            self.until(
                f"{node.name} is in sync",
                lambda node=node: self.status(node)["state"] in ("in_sync", "attention"),  # type: ignore[misc]
            )
        self.wait_equal(*chosen)

    def ensure_alive(self) -> None:
        """No node ends by itself."""
        for node in self.nodes:
            if node.process is not None and node.process.poll() is not None:
                code, node.process = node.process.returncode, None
                raise AssertionError(f"{node.name} ended by itself with {code}\n{self.report([node])}")

    # ---- big files

    def put_big(self, node: Node, name: str, size: int) -> None:
        """Let a file of random bytes appear in a node's folder all at once."""
        dice = random.Random(name)
        made = self.base / f"{name}.made"
        with made.open("wb") as file:
            for at in range(0, size, 1 << 20):
                file.write(dice.randbytes(min(1 << 20, size - at)))
        made.rename(node.path(name))

    def staged(self, node: Node) -> int:
        """Bytes that a node has downloaded and not put down yet."""
        total = 0
        for entry in os.scandir(node.folder / ".meerkat" / "stage"):
            try:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                pass  # put down just now
        return total

    def await_staged(self, node: Node, size: int) -> None:
        """Wait until a node has downloaded that much of something; polls fast, because transfers are."""
        deadline = time.monotonic() + EQUAL_TIMEOUT_S
        while self.staged(node) < size:
            assert time.monotonic() < deadline, f"{node.name} fetches nothing\n{self.report()}"
            time.sleep(0.002)

    # ---- telling

    def report(self, nodes: Iterable[Node] | None = None) -> str:
        """What the nodes say of themselves, and the ends of their logs."""
        parts = []
        for node in self.nodes if nodes is None else nodes:
            log = node.folder / ".meerkat" / "log" / "meerkat.log"
            state = "frozen" if node.frozen else "running" if node.running else "not running"
            parts.append(f"--- {node.name} ({node.ready.get('node', '?')}, {state})")
            if state == "running":
                parts.append(str(self.cli("status", node)))
            for path in (log, node.complained):
                parts.extend(_tail(path))
        return "\n".join(parts)

    def bugs(self) -> list[str]:
        """Tracebacks that a node left in its log or on stderr, or a crash in the state folder."""
        found = []
        for node in self.nodes:
            for path in (node.folder / ".meerkat" / "log" / "meerkat.log", node.complained):
                if path.is_file() and "Traceback" in path.read_text("utf-8", "replace"):
                    found.append(f"{node.name}: a traceback in {path.name}\n{_traceback(path)}")
        crash = self.private / "state" / "meerkat" / "crash.log"
        if crash.is_file():
            found.append(crash.read_text("utf-8", "replace"))
        return found


def _said(code: int, out: bytes, err: bytes) -> Said:
    text = err.decode("utf-8", "replace")
    error: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("{"):
            error = json.loads(line).get("error", {})
    return Said(code, json.loads(out) if out.strip() else None, error, text)


def _tail(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:]
    except OSError:
        return []


def _traceback(path: Path) -> str:
    text = path.read_text("utf-8", "replace")
    at = text.index("Traceback")
    return text[max(0, at - 500) : at + 4000]


P = TypeVar("P", bound=Pool)


@contextmanager
def looked_over(pool: P, base: Path) -> Iterator[P]:
    """The pool of one test, in `base`. After the test, no node may have ended by itself or have met a bug."""
    try:
        yield pool
        pool.ensure_alive()
        assert pool.bugs() == []
    finally:
        pool.close()
        for each in base.iterdir():
            shutil.rmtree(each, ignore_errors=True)  # hundreds of megabytes a test, kept by pytest for three runs

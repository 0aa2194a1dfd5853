"""Unison, watching both folders: a server process, and a client that carries every change over a loopback socket.

No encryption (a socket of its own, as people use it inside ssh), no flush to disk (this version has none). The file
monitor is the bench's own, since Debian's package has none.
"""

import os
import shutil
import subprocess
from pathlib import Path

from . import monitor
from .content import await_that
from .measure import UNISON
from .network import Network, free_port
from .processes import end
from .team import Fill, TeamGauge, prepare
from .usage import await_quiet

PROBE = "probe.txt"
OPTIONS = (
    *("-repeat", "watch", "-batch", "-auto", "-silent", "-ui", "text", "-dumbtty"),
    *("-times", "-confirmbigdel=false", "-log=false"),
)
QUIET_WINDOW_S = 0.5  # a watching Unison looks around once in a while


def is_installed() -> bool:
    return shutil.which("unison") is not None


def version() -> str:
    done = subprocess.run(["unison", "-version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().replace(" version", "").partition(" (")[0]


class Unison:
    """The first folder is the server's, the second one the client's."""

    who = UNISON

    def __init__(self, base: Path, network: Network, fill: Fill | None = None) -> None:
        self.base, self.network = base, network
        self.outside, self.folders = prepare(base, ["server", "client"], fill)
        (base / "programs").mkdir()
        monitor.install(base / "programs")
        self._port = free_port()
        self._log = (base / "unison.log").open("ab")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0
        try:
            self.start(0)
            await_that(self._listens, 0.05)
            self.start(1)
            self._await_passing()
        except BaseException:
            self.close()
            raise

    def _environment(self, name: str) -> dict[str, str]:
        home = self.base / f"archives-{name}"
        home.mkdir(exist_ok=True)
        path = f"{self.base / 'programs'}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "UNISON": str(home), "UNISONLOCALHOSTNAME": name, "PATH": path}

    def start(self, number: int) -> None:
        server, client = self.folders
        words = [
            ["unison", "-socket", str(self._port), "-listen", "127.0.0.1"],
            ["unison", str(client), f"socket://127.0.0.1:{self._port}/{server}", *OPTIONS],
        ][number]
        name = self.folders[number].name
        self._processes[name] = subprocess.Popen(
            [*self.network.words, *words],
            env=self._environment(name),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def _listens(self) -> bool:
        held = [*self.network.words, "cat", "/proc/self/net/tcp"]
        ports = subprocess.run(held, capture_output=True, text=True, check=True).stdout
        return f":{self._port:04X} " in ports

    def _await_passing(self) -> None:
        """Wait until a first file has come through, which it does when all of the first pass is over."""
        (self.folders[0] / PROBE).write_bytes(b"probe")
        await_that((self.folders[1] / PROBE).exists)
        self.quiet()

    def stop(self, number: int) -> None:
        end(self._processes.pop(self.folders[number].name))

    @property
    def pids(self) -> dict[str, int]:
        """The two processes, and the file monitor of each."""
        own = {name: process.pid for name, process in self._processes.items()}
        for name, pid in list(own.items()):
            children = Path(f"/proc/{pid}/task/{pid}/children")
            try:
                own |= {f"{name}'s monitor": int(child) for child in children.read_text().split()}
            except OSError:
                pass
        return own

    def quiet(self) -> None:
        await_quiet(self.pids, QUIET_WINDOW_S)

    def carry(self) -> None:
        """It watches."""

    def gauge(self) -> TeamGauge:
        return TeamGauge(self)

    def sent(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        for name in reversed(list(self._processes)):
            end(self._processes.pop(name))
        self._log.close()

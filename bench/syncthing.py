"""Syncthing, as Debian packages it: real processes over real TLS, everything that would ask somebody outside off.

At its fastest the watcher waits one second, its least, and the processes keep the priority that all others have; the
variant "default delay" waits ten. All else is as Syncthing configures itself. Asked over a socket in the file system,
since its network is not ours.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

from meerkat.cli.demo import NAMES

from .content import await_that
from .measure import SYNCTHING, SYNCTHING_DEFAULT
from .network import Network, free_port
from .processes import end
from .team import Fill, TeamGauge, prepare
from .usage import await_quiet

FASTEST_DELAY_S, DEFAULT_DELAY_S = 1, 10
FOLDER = "bench"
KEY = "bench-key"
ASK_TIMEOUT_S = 600.0
POLL_S = 0.05
OFF = (
    *("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled", "startBrowser"),
    *("crashReportingEnabled", "restartOnWakeup", "announceLANAddresses"),
)
OPTIONS = {
    **dict.fromkeys(OFF, "false"),
    "urAccepted": "-1",
    "autoUpgradeIntervalH": "0",
    "setLowPriority": "false",
    "reconnectionIntervalS": "1",
    "stunKeepaliveStartS": "0",
}


def is_installed() -> bool:
    return shutil.which("syncthing") is not None


def version() -> str:
    done = subprocess.run(["syncthing", "--version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:2])


class Syncthing:
    """Nodes that each know all others.

    Args:
        delay_s: how long the watcher waits.
        started: whether the nodes are started and awaited.
    """

    def __init__(
        self,
        base: Path,
        network: Network,
        count: int,
        fill: Fill | None = None,
        delay_s: int = FASTEST_DELAY_S,
        *,
        started: bool = True,
    ) -> None:
        self.who = SYNCTHING if delay_s == FASTEST_DELAY_S else SYNCTHING_DEFAULT
        self.base, self.network = base, network
        self.names = list(NAMES[:count])
        self.outside, self.folders = prepare(base, self.names, fill)
        self._delay_s = delay_s
        self._homes = [base / f"home-{name}" for name in self.names]
        self._log = (base / "syncthing.log").open("ab")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ids = [self._generate(home) for home in self._homes]
        self._ports = [free_port() for _ in self.names]
        for number in range(count):
            self._configure(number)
        try:
            for number in range(count if started else 0):
                self.start(number)
            self.quiet()
        except BaseException:
            self.close()
            raise

    def _generate(self, home: Path) -> str:
        where = f"--home={home}"
        for words in (["generate", where, "--no-default-folder"], ["serve", where, "--device-id"]):
            done = subprocess.run(
                [*self.network.words, "syncthing", *words], capture_output=True, text=True, check=True
            )
        return done.stdout.strip()

    def _configure(self, number: int) -> None:
        """Syncthing's own defaults, with what a network without an outside needs."""
        path = self._homes[number] / "config.xml"
        tree = Xml.parse(path)
        root = tree.getroot()
        for element in root.findall("device"):
            root.remove(element)
        for other, identity in enumerate(self.ids):
            device = Xml.SubElement(root, "device", id=identity, name=self.names[other], compression="metadata")
            Xml.SubElement(device, "address").text = f"tcp://127.0.0.1:{self._ports[other]}"
        defaults = _child(root, "defaults")
        folder = Xml.fromstring(Xml.tostring(_child(defaults, "folder")))
        folder.attrib |= {"id": FOLDER, "path": str(self.folders[number]), "fsWatcherDelayS": str(self._delay_s)}
        for element in folder.findall("device"):
            folder.remove(element)
        for identity in self.ids:
            Xml.SubElement(folder, "device", id=identity)
        root.append(folder)
        options = _child(root, "options")
        for name, value in OPTIONS.items():
            _child(options, name).text = value
        _child(options, "listenAddress").text = f"tcp://127.0.0.1:{self._ports[number]}"
        gui = _child(root, "gui")
        _child(gui, "address").text = str(self._socket(number))
        _child(gui, "apikey").text = KEY
        tree.write(path)

    def _socket(self, number: int) -> Path:
        return self.base / f"{number}.sock"

    def start(self, number: int) -> None:
        # With this mark it is one process, not one and another that watches over it.
        environment = {**os.environ, "STMONITORED": "yes", "STNOUPGRADE": "1"}
        self._processes[number] = subprocess.Popen(
            [*self.network.words, "syncthing", "serve", f"--home={self._homes[number]}", "--no-browser"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def stop(self, number: int) -> None:
        end(self._processes.pop(number))
        self._socket(number).unlink(missing_ok=True)

    @property
    def pids(self) -> dict[str, int]:
        return {self.names[number]: process.pid for number, process in sorted(self._processes.items())}

    def ask(self, number: int, path: str, method: str = "GET") -> Any:
        """What a node answers over its REST interface.

        Raises:
            OSError: it does not listen yet, or does not answer.
        """
        connection = _SocketConnection(self._socket(number))
        try:
            connection.request(method, path, headers={"X-API-Key": KEY})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.client.OK:
                raise OSError(f"Syncthing answers {answer.status} to {path}")
            return json.loads(said) if said.strip() else None
        except http.client.HTTPException as error:
            raise OSError(f"Syncthing does not answer {path}") from error
        finally:
            connection.close()

    def status(self, number: int) -> dict[str, Any]:
        """Its folder's state and counts."""
        found: dict[str, Any] = self.ask(number, f"/rest/db/status?folder={FOLDER}")
        return found

    def is_settled(self, number: int) -> bool:
        """Whether a node has scanned, is linked with all others that live, and knows them to have all."""
        self._ensure_running(number)
        try:
            status = self.status(number)
            if status["state"] != "idle" or status["needTotalItems"]:
                return False
            links = self.ask(number, "/rest/system/connections")["connections"]
            others = [
                identity for other, identity in enumerate(self.ids) if other in self._processes and other != number
            ]
            if not all(links[identity]["connected"] for identity in others):
                return False
            asks = (f"/rest/db/completion?folder={FOLDER}&device={identity}" for identity in others)
            return all(self.ask(number, ask)["needItems"] == 0 for ask in asks)
        except (OSError, KeyError):
            return False

    def _ensure_running(self, number: int) -> None:
        if self._processes[number].poll() is not None:
            said = (self.base / "syncthing.log").read_text("utf-8", "replace").strip().splitlines()
            raise ChildProcessError(f"Syncthing ended by itself: {' / '.join(said[-14:])}")

    def quiet(self) -> None:
        for number in sorted(self._processes):
            await_that(lambda number=number: self.is_settled(number), POLL_S)  # type: ignore[misc]
        await_quiet(self.pids)

    def carry(self) -> None:
        """It watches."""

    def rescan_s(self, number: int) -> float:
        """How long a scan takes that is asked for."""
        start = time.monotonic()
        self.ask(number, f"/rest/db/scan?folder={FOLDER}", "POST")
        return time.monotonic() - start

    def gauge(self) -> TeamGauge:
        return TeamGauge(self)

    def sent(self) -> dict[str, int]:
        totals = {}
        for number in self._processes:
            try:
                totals[self.names[number]] = int(self.ask(number, "/rest/system/connections")["total"]["outBytesTotal"])
            except OSError:
                pass  # it was started a moment ago
        return totals

    def close(self) -> None:
        for number in sorted(self._processes, reverse=True):
            end(self._processes.pop(number))
        self._log.close()


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ASK_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _child(parent: Xml.Element, name: str) -> Xml.Element:
    found = parent.find(name)
    return Xml.SubElement(parent, name) if found is None else found

"""rsync's daemon on loopback, without encryption: one folder pushed into one or several others, each time it is asked.

It watches nothing, so the clock holds its run alone. The daemon's part of the cost is that of its process for the
connection, which it has waited for.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .content import await_that
from .measure import RSYNC, RSYNC_FLUSHED
from .network import Network, free_port
from .processes import end
from .team import Fill, TeamGauge, prepare
from .usage import TICKS_PER_S, Cost, cpu_ticks

COLLECT_S = 0.2  # until the daemon has collected its child, whose processor time it then has
USER, PASSWORD = "bench", "bench"


def is_installed() -> bool:
    return shutil.which("rsync") is not None


def version() -> str:
    done = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:1] + done.stdout.split()[2:3])


class Rsync:
    """The first folder is the source; each other one is a module of the daemon's.

    Args:
        options: more of rsync's options.
    """

    def __init__(
        self, base: Path, network: Network, count: int, fill: Fill | None = None, options: Sequence[str] = ()
    ) -> None:
        self.who = RSYNC_FLUSHED if "--fsync" in options else RSYNC
        self.base, self.network, self.options = base, network, list(options)
        self.outside, self.folders = prepare(base, [f"folder-{number}" for number in range(count)], fill)
        self._port = free_port()
        secrets = base / "rsyncd.secrets"
        secrets.write_text(f"{USER}:{PASSWORD}\n")
        secrets.chmod(0o600)
        configuration = base / "rsyncd.conf"
        configuration.write_text(
            f"use chroot = no\nlog file = {base / 'rsyncd.log'}\nread only = no\nauth users = {USER}\n"
            f"secrets file = {secrets}\nstrict modes = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
            + "".join(f"[{folder.name}]\npath = {folder}\n" for folder in self.folders[1:])
        )
        words = ["rsync", "--daemon", "--no-detach", f"--config={configuration}", f"--port={self._port}"]
        self._daemon = subprocess.Popen([*network.words, *words, "--address=127.0.0.1"], stdin=subprocess.DEVNULL)
        self.pushed = Cost()
        try:
            await_that(self._answers, 0.05)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> dict[str, int]:
        return {"daemon": self._daemon.pid}

    def _answers(self) -> bool:
        where = f"rsync://127.0.0.1:{self._port}/"
        return subprocess.run([*self.network.words, "rsync", where], capture_output=True, check=False).returncode == 0

    def carry(self) -> None:
        """Push the source into every other folder, one after the other.

        Raises:
            subprocess.CalledProcessError: rsync failed.
        """
        for folder in self.folders[1:]:
            where = f"rsync://{USER}@127.0.0.1:{self._port}/{folder.name}/"
            words = ["rsync", "-a", "--delete", *self.options, f"{self.folders[0]}/", where]
            client = subprocess.Popen(
                [*self.network.words, *words],
                env={**os.environ, "RSYNC_PASSWORD": PASSWORD},
                stdin=subprocess.DEVNULL,
            )
            _, status, used = os.wait4(client.pid, 0)
            client.returncode = os.waitstatus_to_exitcode(status)
            if client.returncode:
                raise subprocess.CalledProcessError(client.returncode, words)
            self.pushed.cpu_s["client"] = self.pushed.cpu_s.get("client", 0.0) + used.ru_utime + used.ru_stime
            peak = max(self.pushed.peak_bytes.get("client", 0), used.ru_maxrss * 1024)
            self.pushed.peak_bytes["client"] = peak

    def daemon_ticks(self) -> int:
        """Processor time of the daemon's ended children."""
        return cpu_ticks(self._daemon.pid, ended_children=True)

    def quiet(self) -> None:
        """Nothing of it runs between two pushes."""

    def gauge(self) -> TeamGauge:
        return _RsyncGauge(self)

    def sent(self) -> dict[str, int]:
        return {}

    def stop(self, number: int) -> None:
        """No node of it lives."""

    def start(self, number: int) -> None:
        """No node of it lives."""

    def close(self) -> None:
        end(self._daemon)


class _RsyncGauge(TeamGauge):
    """What the clients say they used, and what the daemon's children did."""

    def __init__(self, team: Rsync) -> None:
        self._rsync = team
        team.pushed = Cost()
        self._children = team.daemon_ticks()
        super().__init__(team)

    def read(self, *, rest: bool = True) -> Cost:
        cost = super().read(rest=rest)
        time.sleep(COLLECT_S)
        daemon = (self._rsync.daemon_ticks() - self._children) / TICKS_PER_S
        cost.cpu_s = {**self._rsync.pushed.cpu_s, "daemon": daemon}
        cost.peak_bytes = dict(self._rsync.pushed.peak_bytes)
        return cost

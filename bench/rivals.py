"""Others, doing the same work in the same call: rsync's daemon (no encryption), and a bare gRPC stream over our TLS.

Each answers a `Cost`; where a rival is not installed its rows say so. Both are stopped by their ids.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.ceiling import make_identities
from bench.content import await_that
from bench.network import bytes_on_the_wire, free_port
from bench.usage import TICKS_PER_S, Cost, Gauge, cpu_ticks

STOP_S = 10.0
COLLECT_S = 0.2  # until the daemon has collected its child, whose processor time it then has
RSYNC_USER, RSYNC_PASSWORD = "bench", "bench"


def has_rsync() -> bool:
    return shutil.which("rsync") is not None


def rsync_version() -> str:
    done = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:3])


class Rsync:
    """An rsync daemon on loopback that takes files into `target`.

    The daemon's part of the cost is that of its process for the connection, which it has waited for.
    """

    def __init__(self, base: Path) -> None:
        self.target = base / "rsync-target"
        self.target.mkdir()
        self._port = free_port()
        secrets = base / "rsyncd.secrets"
        secrets.write_text(f"{RSYNC_USER}:{RSYNC_PASSWORD}\n")
        secrets.chmod(0o600)
        configuration = base / "rsyncd.conf"
        configuration.write_text(
            f"use chroot = no\nlog file = {base / 'rsyncd.log'}\n[bench]\npath = {self.target}\nread only = no\n"
            f"auth users = {RSYNC_USER}\nsecrets file = {secrets}\nstrict modes = no\nuid = {os.getuid()}\n"
            f"gid = {os.getgid()}\n"
        )
        words = ["rsync", "--daemon", "--no-detach", f"--config={configuration}", f"--port={self._port}"]
        self._daemon = subprocess.Popen([*words, "--address=127.0.0.1"], stdin=subprocess.DEVNULL)
        await_that(self._answers, 0.05)

    def _answers(self) -> bool:
        where = f"rsync://127.0.0.1:{self._port}/"
        return subprocess.run(["rsync", where], capture_output=True, check=False).returncode == 0

    def push(self, source: Path, *options: str) -> Cost:
        """Bring the target's copy of `source` (a file or a folder) up to date.

        Raises:
            subprocess.CalledProcessError: rsync failed.
        """
        wire = bytes_on_the_wire()
        before = os.times()
        daemon_before = cpu_ticks(self._daemon.pid, ended_children=True)
        start = time.monotonic()
        subprocess.run(
            ["rsync", "-a", *options, str(source), f"rsync://{RSYNC_USER}@127.0.0.1:{self._port}/bench/"],
            env={**os.environ, "RSYNC_PASSWORD": RSYNC_PASSWORD},
            stdin=subprocess.DEVNULL,
            check=True,
        )
        cost = Cost(time.monotonic() - start)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        time.sleep(COLLECT_S)
        daemon = cpu_ticks(self._daemon.pid, ended_children=True) - daemon_before
        cost.cpu_s = {"client": cpu, "daemon": daemon / TICKS_PER_S}
        now = bytes_on_the_wire()
        cost.wire_bytes = None if now is None or wire is None else now - wire
        return cost

    def close(self) -> None:
        _end(self._daemon)


@contextmanager
def rsync_daemon(base: Path) -> Iterator[Rsync | None]:
    """The daemon, or None where there is no rsync."""
    if not has_rsync():
        yield None
        return
    rsync = Rsync(base)
    try:
        yield rsync
    finally:
        rsync.close()


def bare_stream(source: Path, base: Path, into: Path | None = None) -> Cost:
    """Move a file's bytes over one gRPC stream (see `ceiling`).

    Raises:
        ValueError: not all bytes arrived.
    """
    identities = base / "ceiling"
    if not identities.exists():
        make_identities(identities)
    program = [sys.executable, "-m", "bench.ceiling"]
    server = subprocess.Popen(
        [*program, "serve", str(source), str(identities)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        gauge = Gauge({"server": server.pid})
        last = [] if into is None else [str(into)]
        done = subprocess.run(
            [*program, "fetch", address, str(identities), *last], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        cost = gauge.read(told["seconds"])
        cost.cpu_s["client"] = told["cpu_s"]
    finally:
        _end(server)
    if told["bytes"] != source.stat().st_size:
        raise ValueError(f"{told['bytes']} bytes came of {source.stat().st_size}")
    return cost


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()

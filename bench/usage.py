"""What processes cost: processor seconds and peak memory from /proc, bytes from the interface of their network."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .network import Network

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RESET_PEAK = "5"  # proc(5), clear_refs: the peak begins anew at what is resident now
QUIET_WINDOW_S = 0.25
QUIET_TICKS_MAX = 1
QUIET_WAIT_S_MAX = 15.0


@dataclass
class Cost:
    """What one run cost. `cpu_s` and `peak_bytes` are per process, by name; `wire_bytes` is None where unknown."""

    seconds: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    wire_bytes: int | None = None
    message_bytes: int | None = None


def cpu_ticks(pid: int, *, ended_children: bool = False) -> int:
    """Ticks of processor time that a process has used, its threads included; or that its ended children have. Nought
    for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    user, system = fields[13:15] if ended_children else fields[11:13]
    return int(user) + int(system)


def memory_bytes(pid: int, what: str) -> int:
    """`VmRSS` (resident now) or `VmHWM` (at its peak); nought for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    return 0


def reset_peak(pid: int) -> None:
    """Let the peak of a process's memory begin anew; where that is not permitted it is that of the whole life."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
    except OSError:
        pass


class Gauge:
    """Measures from its making until `read`.

    Args:
        pids: the processes to watch, by name.
        network: where they run.
    """

    def __init__(self, pids: Mapping[str, int], network: Network) -> None:
        self._pids = dict(pids)
        self._network = network
        for pid in self._pids.values():
            reset_peak(pid)
        self._ticks = {name: cpu_ticks(pid) for name, pid in self._pids.items()}
        self._wire = network.carried()

    def read(self, seconds: float) -> Cost:
        """The cost since the making, with the time that the caller has measured."""
        wire = self._network.carried()
        return Cost(
            seconds,
            {name: (cpu_ticks(pid) - self._ticks[name]) / TICKS_PER_S for name, pid in self._pids.items()},
            {name: memory_bytes(pid, "VmHWM") for name, pid in self._pids.items()},
            None if wire is None or self._wire is None else wire - self._wire,
        )


def await_quiet(pids: Mapping[str, int], window_s: float = QUIET_WINDOW_S) -> None:
    """Wait until the processes do next to nothing, so that a run pays for its own work and for no other's."""
    deadline = time.monotonic() + QUIET_WAIT_S_MAX
    while time.monotonic() < deadline:
        before = {pid: cpu_ticks(pid) for pid in pids.values()}
        time.sleep(window_s)
        if all(cpu_ticks(pid) - ticks <= QUIET_TICKS_MAX for pid, ticks in before.items()):
            return

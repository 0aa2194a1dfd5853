"""What was measured, by workload, each with the machine and the moment: kept as JSON beside the table, so that a run of
some workloads leaves the figures of the others standing."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .content import creations_per_second
from .measure import Line, Options
from .network import can_be_private
from .scale import SCALED, SCALED_WORKS
from .teams import versions
from .usage import Cost

NAME = "results.json"
PACKAGES = ("meerkat-sync", "grpcio", "blake3")


@dataclass(frozen=True, slots=True)
class Measured:
    """One workload's lines.

    Attributes:
        at: when it ended.
        scale: 1 is the size that the workload's target speaks of.
        load: of the machine over the last five minutes, the workload's own included.
        machine: cores, memory, kernel, file system.
        versions: ours, and the rivals'.
    """

    work: str
    lines: list[Line]
    at: str
    scale: float
    load: float
    machine: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, work: str, lines: Sequence[Line], options: Options) -> "Measured":
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        packages = [f"{package} {version(package)}" for package in PACKAGES]
        known = [*packages, f"Python {platform.python_version()}", *versions()]
        scale = options.scale * (SCALED if work in SCALED_WORKS and not options.full else 1.0)
        return cls(work, list(lines), at, scale, round(os.getloadavg()[1], 1), machine(), known)


class Ledger:
    """Workloads in the order in which they were added."""

    def __init__(self) -> None:
        self.works: dict[str, Measured] = {}

    def add(self, measured: Measured) -> None:
        self.works[measured.work] = measured

    @property
    def lines(self) -> list[Line]:
        return [line for measured in self.works.values() for line in measured.lines]

    @property
    def scales(self) -> dict[str, float]:
        return {work: measured.scale for work, measured in self.works.items()}

    def joined(self, newer: "Ledger") -> "Ledger":
        """This one, with what the newer one has measured again."""
        both = Ledger()
        both.works = self.works | newer.works
        return both

    @classmethod
    def load(cls, folder: Path) -> "Ledger":
        """What stands in a folder; empty where nothing does."""
        ledger = cls()
        try:
            kept: list[dict[str, Any]] = json.loads((folder / NAME).read_text("utf-8"))
        except FileNotFoundError:
            return ledger
        for each in kept:
            each["lines"] = [_line(line) for line in each["lines"]]
            ledger.add(Measured(**each))
        return ledger

    def save(self, folder: Path) -> None:
        (folder / NAME).write_text(self.as_json() + "\n", "utf-8")

    def as_json(self) -> str:
        return json.dumps([asdict(measured) for measured in self.works.values()], indent=1)


def _line(kept: dict[str, Any]) -> Line:
    return Line(**(kept | {"costs": [Cost(**cost) for cost in kept["costs"]]}))


def machine() -> list[str]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    wire = "bytes of the interface, headers included" if can_be_private() else "the interface is shared, so not told"
    return [
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}",
        f"file system: {creations_per_second():,.0f} empty files made per second by one bare thread",
        f"wire: {wire}",
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()

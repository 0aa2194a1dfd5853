"""One line of the table: who did what, several times, and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from .usage import Cost

MEERKAT = "Meerkat"
SYNCTHING, SYNCTHING_DEFAULT = "Syncthing", "Syncthing, default delay"
UNISON = "Unison, watching"
RSYNC, RSYNC_FLUSHED = "rsync daemon", "rsync daemon, --fsync"
STREAM, STREAM_KEPT = "bare gRPC stream", "the same, hashed and written"
RIVALS = (SYNCTHING, SYNCTHING_DEFAULT, UNISON, RSYNC, RSYNC_FLUSHED)


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.

    Attributes:
        runs: repetitions where they are cheap.
        scale: 1 is the size that the tables speak of.
        rivals: the programs to measure beside ours, where they are installed.
        full: measure the hugest workloads at their whole size.
    """

    runs: int = 3
    scale: float = 1.0
    rivals: frozenset[str] = frozenset({"syncthing", "unison", "rsync"})
    full: bool = False

    def bytes(self, size: int) -> int:
        return max(64 * 1024, int(size * self.scale))

    def count(self, number: int, least: int = 3) -> int:
        return max(least, int(number * self.scale))


@dataclass
class Line:
    """Attributes:
    work: the workload's name.
    what: what was done, with its size.
    who: one of the names above.
    costs: one for each run.
    figures: what is not a cost of the whole: percentiles, copies.
    remark: what the reader has to know.
    """

    work: str
    what: str
    who: str
    costs: list[Cost] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    remark: str = ""

    @property
    def seconds(self) -> float | None:
        return median(cost.seconds for cost in self.costs) if self.costs else None

    @property
    def wire_bytes(self) -> float | None:
        known = [cost.wire_bytes for cost in self.costs if cost.wire_bytes is not None]
        return median(known) if known else None

    @property
    def message_bytes(self) -> float | None:
        known = [cost.message_bytes for cost in self.costs if cost.message_bytes is not None]
        return median(known) if known else None

    @property
    def cpu_s(self) -> dict[str, float]:
        """Per process, the median of the runs."""
        return {name: median(cost.cpu_s.get(name, 0.0) for cost in self.costs) for name in self._names("cpu_s")}

    @property
    def peak_bytes(self) -> dict[str, int]:
        """Per process, the highest of all runs."""
        return {name: max(cost.peak_bytes.get(name, 0) for cost in self.costs) for name in self._names("peak_bytes")}

    def _names(self, attribute: str) -> list[str]:
        return list(dict.fromkeys(name for cost in self.costs for name in getattr(cost, attribute)))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median_of(values: Sequence[float]) -> float:
    """The middle one."""
    return median(values)

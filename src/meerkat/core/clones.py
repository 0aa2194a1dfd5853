"""Whether two living nodes go by one name: a folder was copied with its key, and both copies run.

Every start of a node has a random `run`. A restart lets a new run supersede the one before, for good; a superseded run
that greets again, and is alive to answer, proves that two processes hold one key. One of the two has to take a name of
its own: the one that knows that its folder has moved, else the one with the greater run, so that all members who see
both condemn the same one. Nothing about data or membership follows from it here; the condemned run is only not linked.
"""

from enum import Enum, auto

from msgspec import Struct, field

from meerkat.model.ids import NodeId
from meerkat.model.limits import RUNS_REMEMBERED_MAX


class Met(Enum):
    """What a greeting tells."""

    ORDINARY = auto()  # the run known so far, or a newer one
    RETURNED = auto()  # was superseded: if it is alive, there are two; `confirm` when it has answered
    CONDEMNED = auto()  # has to take another name


class _Runs(Struct):
    """What is remembered of one node: `moved` of each run that was met and not condemned, oldest first."""

    current: bytes
    moved: dict[bytes, bool] = field(default_factory=dict)
    condemned: dict[bytes, None] = field(default_factory=dict)


class Clones:
    """The runs of the other members."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, _Runs] = {}

    def greeted(self, node: NodeId, run: bytes, *, moved: bool) -> Met:
        """A member greets. `moved`: it says that its folder lies elsewhere than it used to."""
        runs = self._nodes.setdefault(node, _Runs(run))
        if run in runs.condemned:
            return Met.CONDEMNED
        if run in runs.moved and run != runs.current:
            runs.moved[run] = moved
            return Met.RETURNED
        runs.current = run
        runs.moved.pop(run, None)
        runs.moved[run] = moved
        _bound(runs.moved)
        return Met.ORDINARY

    def confirm(self, node: NodeId, run: bytes) -> bytes:
        """The returned run is alive, so two are: the run that has to yield (empty: that is settled already).

        The other one is the current one from now on.
        """
        runs = self._nodes[node]
        if run in runs.condemned:
            return run  # two of its connections were asked at once
        if run == runs.current or run not in runs.moved:
            return b""
        yields = max(run, runs.current, key=lambda each: (runs.moved[each], each))
        runs.current = run if yields == runs.current else runs.current
        del runs.moved[yields]
        runs.condemned[yields] = None
        _bound(runs.condemned)
        return yields

    def only(self, members: set[NodeId]) -> None:
        """Forget everybody else."""
        for node in self._nodes.keys() - members:
            del self._nodes[node]


def _bound(runs: dict[bytes, bool] | dict[bytes, None]) -> None:
    while len(runs) > RUNS_REMEMBERED_MAX:
        del runs[next(iter(runs))]

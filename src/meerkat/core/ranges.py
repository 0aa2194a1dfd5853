"""Two indexes compared by ranges of the tree, so that what differs costs bytes, and what is equal nearly none.

Range-based set reconciliation (Meyer, arXiv:2212.13567) in the order of paths, for what changes together lies together.
The teller sums up its entries by stretches of `RANGE_PATHS` paths, then those that the asker finds to differ by
`RANGE_PATHS_FINE`, then path by path; in the end it gives the entries that the asker lacks or has otherwise. Four
rounds whatever the size. Sums do not depend on the order of their parts; 16 bytes of each are compared, of single paths
8: whoever could bring two contents under one sum is a member, and may say what it likes anyway.

Both sides walk one snapshot each; neither holds more than the sums of a round in memory.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from meerkat.model.frame import PATH_PRINT_BYTES, RANGE_SUM_BYTES, Marks, PeerFault, Prints
from meerkat.model.limits import RANGE_PATHS, RANGE_PATHS_FINE, RANGES_DIFFERING_MAX, RANGES_WANTED_MAX
from meerkat.model.path import tree_key
from meerkat.model.version import Entry, Siblings

START, END = b"", b"\xff"
"""Bounds of all tree keys: no path begins with 0xff, which is no part of any UTF-8 text."""

_MODULUS = 1 << (8 * RANGE_SUM_BYTES)

Range = tuple[bytes, bytes]
"""Tree keys `low <= key < high`."""

Walk = Callable[[bytes, bytes], Iterable[Entry]]
"""The entries of a range, in tree order."""


class TooDifferent(Exception):
    """So much differs that telling everything is cheaper."""


def print_of(key: bytes, siblings: Siblings) -> int:
    """What the entry at that tree key adds to a sum: all that travels of it counts."""
    total = 0
    for dot, version in siblings.items():
        said = (
            dot.author.node,
            dot.author.epoch,
            dot.seq,
            int(version.kind),
            version.size,
            version.mtime_ns,
            version.mode,
            version.digest,
            version.recipe,
            version.target,
            version.height,
            version.weak,
            version.hist,
            version.origin,
        )
        text = key + b"\0\0" + ascii(said).encode("ascii")  # no key has two NULs in a row
        total += int.from_bytes(blake3(text).digest(length=RANGE_SUM_BYTES), "big")
    return total % _MODULUS


def _printed(walk: Walk, within: Range) -> Iterator[tuple[bytes, int]]:
    for entry in walk(*within):
        key = tree_key(entry.path)
        yield key, print_of(key, entry.siblings)


# ---- the teller


def divided(walk: Walk, ranges: Iterable[Range], paths: int) -> Iterator[tuple[bytes, int]]:
    """Each of the ranges in pieces of so many paths: where a piece ends, and its sum. The last ends where its range
    does."""
    for low, high in ranges:
        total = count = 0
        for key, mark in _printed(walk, (low, high)):
            if count == paths:
                yield key, total
                total = count = 0
            total, count = (total + mark) % _MODULUS, count + 1
        yield high, total


class Teller:
    """Answers in the order of the rounds; the asker picks by number from what the last round has told."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._ranges: list[Range] = []

    def whole(self) -> list[tuple[bytes, int]]:
        """The first round: where each stretch ends, and its sum."""
        return self._divide([(START, END)], RANGE_PATHS)

    def finer(self, picks: Sequence[int]) -> list[tuple[bytes, int]]:
        """The second: the same of what differs."""
        return self._divide(self._picked(picks), RANGE_PATHS_FINE)

    def _divide(self, ranges: Sequence[Range], paths: int) -> list[tuple[bytes, int]]:
        marks = list(divided(self._walk, ranges, paths))
        self._ranges = tiled(ranges, (high for high, _ in marks))
        return marks

    def paths(self, picks: Sequence[int]) -> list[bytes]:
        """Of each range the sums of its paths, shortened and joined."""
        self._ranges = self._picked(picks)
        return [b"".join(_short(mark) for _, mark in _printed(self._walk, each)) for each in self._ranges]

    def entries(self, picks: Sequence[int]) -> Iterator[Entry]:
        """Those entries, counted over all ranges whose paths were told."""
        wanted = iter(picks)
        number, pick = 0, next(wanted, None)
        for each in self._ranges:
            if pick is None:
                return
            for entry in self._walk(*each):
                if number == pick:
                    yield entry
                    pick = next(wanted, None)
                number += 1

    def _picked(self, picks: Sequence[int]) -> list[Range]:
        """
        Raises:
            PeerFault: nothing of that number was told.
        """
        if picks and picks[-1] >= len(self._ranges):
            raise PeerFault("it picks what it was not told")
        return [self._ranges[pick] for pick in picks]


def marks_of(number: int, marks: Sequence[tuple[bytes, int]], per_frame: int) -> Iterator[Marks]:
    """As frames."""
    for start in range(0, max(1, len(marks)), per_frame):
        some = marks[start : start + per_frame]
        sums = b"".join(mark.to_bytes(RANGE_SUM_BYTES, "big") for _, mark in some)
        yield Marks(number, tuple(high for high, _ in some), sums, start + per_frame >= len(marks))


def prints_of(number: int, lists: Sequence[bytes], per_frame: int) -> Iterator[Prints]:
    for start in range(0, max(1, len(lists)), per_frame):
        yield Prints(number, tuple(lists[start : start + per_frame]), start + per_frame >= len(lists))


# ---- the asker


@dataclass
class Asker:
    """Finds out which paths differ.

    Attributes:
        differing: tree keys of entries here that the teller has otherwise, or not at all.
        wanted: how many entries the teller is to give.
    """

    walk: Walk
    differing: set[bytes] = field(default_factory=set)
    wanted: int = 0
    _ranges: list[Range] = field(default_factory=lambda: [(START, END)])

    def compare(self, marks: Iterable[Marks]) -> list[int]:
        """Which of the ranges that were told differ here.

        Raises:
            PeerFault: they do not make up what was asked.
        """
        told = [
            (high, frame.sums[RANGE_SUM_BYTES * at : RANGE_SUM_BYTES * (at + 1)])
            for frame in marks
            for at, high in enumerate(frame.highs)
        ]
        ranges = tiled(self._ranges, [high for high, _ in told])
        picks = [
            number
            for number, (each, (_, mark)) in enumerate(zip(ranges, told, strict=True))
            if sum(one for _, one in _printed(self.walk, each)) % _MODULUS != int.from_bytes(mark, "big")
        ]
        self._ranges = [ranges[pick] for pick in picks]
        return picks

    def ensure_worth_it(self) -> None:
        """Raise `TooDifferent` unless what differs is little enough to be told path by path."""
        if len(self._ranges) * RANGE_PATHS_FINE > RANGES_DIFFERING_MAX:
            raise TooDifferent

    def choose(self, lists: Iterable[bytes]) -> list[int]:
        """Which of the teller's entries are wanted, counted over all ranges.

        Raises:
            PeerFault: it tells of other ranges than it was asked.
            TooDifferent: too many to be kept in memory.
        """
        picks: list[int] = []
        number = 0
        told = list(lists)
        if len(told) != len(self._ranges):
            raise PeerFault("it tells of other ranges than it was asked")
        for each, theirs in zip(self._ranges, told, strict=True):
            ours = {_short(mark): key for key, mark in _printed(self.walk, each)}
            for at in range(0, len(theirs), PATH_PRINT_BYTES):
                if ours.pop(theirs[at : at + PATH_PRINT_BYTES], None) is None:
                    picks.append(number)
                number += 1
            self.differing.update(ours.values())
        self.wanted = len(picks)
        if self.wanted > RANGES_WANTED_MAX:
            raise TooDifferent
        return picks

    def ensure_asked(self, entry: Entry) -> None:
        """Raise `PeerFault` unless the entry lies in a range that differs."""
        key = tree_key(entry.path)
        at = bisect_right(self._ranges, (key, END)) - 1
        if at < 0 or not key < self._ranges[at][1]:
            raise PeerFault("an entry that was not asked for")


def tiled(ranges: Sequence[Range], highs: Iterable[bytes]) -> list[Range]:
    """The pieces that end there, which must make up the ranges exactly."""
    pieces: list[Range] = []
    ends = iter(highs)
    for low, high in ranges:
        while low != high:
            end = next(ends, None)
            if end is None or not low < end <= high:
                raise PeerFault("ranges that do not make up what was asked")
            pieces.append((low, end))
            low = end
    if next(ends, None) is not None:
        raise PeerFault("ranges beyond what was asked")
    return pieces


def _short(mark: int) -> bytes:
    return mark.to_bytes(RANGE_SUM_BYTES, "big")[:PATH_PRINT_BYTES]

"""What an answer to a question for entries says, looked at as it comes, and what it weighs."""

from meerkat.model.dot import Author, Vector, dominates, joined
from meerkat.model.frame import EntriesEnd, PeerFault
from meerkat.model.limits import ANSWER_VERSIONS_MAX, VECTOR_AUTHORS_MAX
from meerkat.model.path import tree_key
from meerkat.model.version import Entry


class Told:
    """What an answer has said so far, as far as it must agree with itself: paths in tree order, each once, and no write
    beyond the context that it ends with. Whoever breaks that would make this node drop what it was never told of."""

    def __init__(self) -> None:
        self._last = b""
        self._reach: dict[Author, int] = {}
        self._versions = 0

    def take(self, entries: tuple[Entry, ...]) -> int:
        """Look at the next entries; the number of their versions.

        Raises:
            PeerFault: out of order, or too much of something.
        """
        count = 0
        for entry in entries:
            key = tree_key(entry.path)
            if key <= self._last:
                raise PeerFault("entries that are not in the order of the tree")
            self._last = key
            count += len(entry.siblings)
            for dot in entry.siblings:
                if dot.seq > self._reach.get(dot.author, 0):
                    self._reach[dot.author] = dot.seq
        self._versions += count
        if len(self._reach) > VECTOR_AUTHORS_MAX or self._versions > ANSWER_VERSIONS_MAX:
            raise PeerFault("an answer beyond all limits")
        return count

    def ensure_sound(self, end: EntriesEnd, known: Vector, *, full: bool) -> None:
        """Raise `PeerFault` unless the end fits what was told before it, and the question.

        Args:
            known: the asker's context. full: whether it has asked for everything.
        """
        if not dominates(end.context, self._reach):
            raise PeerFault("entries that its own context does not cover")
        if end.full != full:
            raise PeerFault("it answers another question than it was asked")
        if len(joined(known, end.context)) > VECTOR_AUTHORS_MAX:
            raise PeerFault("it knows more authors than a pool can have")


def weight_of(entry: Entry) -> int:
    """About how many bytes an entry takes in a message."""
    weight = len(entry.path) + 16
    for version in entry.siblings.values():
        weight += 110 + len(version.target) + 8 * len(version.hist)
    return weight

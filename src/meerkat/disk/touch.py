"""What a watch says, whichever system tells it. A watch only hints: the scan decides, so a hint too many does no harm.

The invariant: a change that comes after `start` has returned leads to a `Touched` of its path or of a folder above it,
or to `Overflowed`, unless `degraded` says that changes may go unseen and folders have to be scanned now and then.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from meerkat.model.path import RelPath


class Touched(Struct, frozen=True):
    """Something happened at `path`. `closed`: nobody is known to be still writing there. `arrived`: a folder came there
    whole; perhaps it is back from where what is in it changed, of which nothing was said here."""

    path: RelPath
    closed: bool
    arrived: bool = False


class Overflowed(Struct, frozen=True):
    """Events were lost, or not everything can be watched: only a scan of the whole tree knows."""


OnEvent = Callable[[Touched | Overflowed], None]
"""Called in the event loop's thread."""


class Watch(Protocol):
    """A running watch over the shared folder. `degraded`: why it does not see everything; empty while it does."""

    degraded: str

    async def start(self) -> None:
        """Returns when the whole tree is watched (or `degraded` says why not)."""
        ...

    def attend(self, folder: RelPath) -> None:
        """Also tell, as `Touched`, what is written into the files right in a folder that is no part of the tree (one of
        the trash). A promise of nothing: where it cannot be had, whoever asks has to look from time to time."""
        ...

    async def stop(self) -> None:
        """No event comes after this has returned."""
        ...

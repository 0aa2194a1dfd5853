"""The few shapes that the engine needs of the outside world; the shipped hands and the simulated ones fit them.

Everything here is blocking and belongs in a worker thread, except where a method is `async`. All index writes go
through one `Tx` at a time, in one thread.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from meerkat.model.dot import Author, Dot, Vector
from meerkat.model.frame import CarryFrame, IndexFrame, LinkFrame
from meerkat.model.frame import LinkLost as LinkLost
from meerkat.model.ids import Digest, NodeId
from meerkat.model.index import Hold, Noted
from meerkat.model.index import Intent as Intent
from meerkat.model.index import Located as Located
from meerkat.model.index import Totals as Totals
from meerkat.model.path import RelPath
from meerkat.model.recipe import Chunk
from meerkat.model.version import Base, Content, Entry, Siblings, Version

# ---- the index


class View(Protocol):
    """Reading the index at one instant."""

    def context(self) -> dict[Author, int]: ...
    def floor(self) -> dict[Author, int]: ...
    def fingerprint(self) -> bytes:
        """16 bytes: sum over living dots; equal contexts must have equal fingerprints."""
        ...

    def look_ahead(self, paths: Iterable[RelPath]) -> None:
        """These paths (a bounded batch) are about to be asked for: read what is known of them together."""
        ...

    def siblings(self, path: RelPath) -> Siblings: ...
    def base(self, path: RelPath) -> Base | None: ...
    def has_living_below(self, path: RelPath) -> bool: ...
    def files_here(self, limit: int) -> int:
        """How many files and links this disk had when it was last looked at; no more than `limit` are counted."""
        ...

    def bases_at(self, paths: Iterable[RelPath]) -> dict[RelPath, Base]:
        """Those of the paths that have a base."""
        ...

    def has_base_below(self, path: RelPath) -> bool: ...
    def entries_beyond(self, context: Vector) -> Iterator[Entry]:
        """Every path with at least one dot that `context` does not cover, with all its siblings, in tree order."""
        ...

    def entries(self, under: RelPath = ...) -> Iterator[Entry]:
        """Every entry at or below `under` (root: all), tombstones too, in tree order."""
        ...

    def stretch(self, low: bytes, high: bytes) -> Iterator[Entry]:
        """Every entry whose tree key is at or above `low` and below `high`, in tree order."""
        ...

    def bases(self, under: RelPath = ..., after: RelPath = ...) -> Iterator[tuple[RelPath, Base]]:
        """Every base at or below `under` in tree order."""
        ...

    def dead(self, after: RelPath, limit: int) -> list[RelPath]:
        """Paths with a tombstone, in tree order, after that one."""
        ...

    def conflicted(self) -> list[RelPath]:
        """Paths with more than one distinct living content."""
        ...

    def copies(self) -> list[Entry]:
        """Entries whose name is that of a conflict copy and that live."""
        ...

    def changes(self, path: RelPath | None, limit: int, *, deleted: bool = False) -> list[Noted]:
        """Writes that this node came to know of, the newest first: at the path (None: anywhere)."""
        ...

    def holds(self) -> list[Hold]:
        """Deletions that wait for a person, the oldest first."""
        ...

    def held(self, hold: int | None = None, after: RelPath = ..., limit: int = ...) -> list[RelPath]:
        """Paths of one hold, or of all, in tree order, after that one; `limit` negative: all."""
        ...

    def held_count(self) -> int: ...
    def is_held(self, path: RelPath) -> bool:
        """A person has yet to say whether the path's being gone is meant."""
        ...

    def pending(self, after: RelPath, limit: int) -> list[RelPath]:
        """Up to `limit` paths whose view may differ from their base, in tree order, strictly after `after`."""
        ...

    def pending_count(self) -> int: ...
    def complete(self) -> dict[Author, int]:
        """The context lowered below every dot of a pending path: what is certainly on this disk."""
        ...

    def moved_from(self, new: RelPath) -> RelPath | None:
        """What of this disk may be what is to stand at `new`, where nothing is yet."""
        ...

    def moved_whole(self, old: RelPath, new: RelPath) -> bool:
        """Moving what stands at `old` to `new` would make both as the pool wants them, with all that is in them."""
        ...

    def intents(self) -> list[Intent]: ...
    def recipe(self, digest: Digest) -> bytes | None: ...
    def locate_content(self, content: Content) -> list[tuple[RelPath, Base]]:
        """A few paths of this disk whose base has that content."""
        ...

    def locate_chunk(self, digest: Digest) -> list[Located]:
        """A few places on this disk where a chunk of that digest was seen."""
        ...

    def totals(self) -> Totals: ...
    def meta(self, key: str) -> bytes | None: ...


class Tx(View, Protocol):
    """One write transaction. Leaving its block commits durably; an exception rolls back.

    Attributes:
        note_changes: keep what is written for people's history (not while a whole index is learnt).
        bases_put: every path whose base was replaced in this transaction, with the last word about it, but for
            `bases_moved`: those of whole folders were moved.
    """

    note_changes: bool
    bases_put: dict[RelPath, Base | None]
    bases_moved: bool

    def author(self) -> Author:
        """The author under whom this node writes now."""
        ...

    def next_seq(self) -> int:
        """Take the next sequence of `author()` and join it to the context."""
        ...

    def renew_author(self, author: Author) -> None:
        """From now on write as `author` (a new epoch)."""
        ...

    def put_new(self, path: RelPath, version: Version, base: Base) -> Dot:
        """Write what was found at a path that had neither siblings nor base: as `next_seq`, `put_siblings`, `put_base`
        and `clear_pending` together."""
        ...

    def put_siblings(self, path: RelPath, siblings: Siblings) -> None:
        """Replace the path's siblings (empty: forget the path). Marks it pending, and the folders above it when it
        began or ceased to live."""
        ...

    def put_base(self, path: RelPath, base: Base | None) -> None:
        """Replace the path's base; does not touch pending."""
        ...

    def move_bases(self, old: RelPath, new: RelPath) -> None:
        """What stood at `old` stands at `new` now, with all that is in it."""
        ...

    def join_context(self, context: Vector, floor: Vector) -> None: ...
    def set_pending(self, path: RelPath) -> None: ...
    def clear_pending(self, path: RelPath) -> None: ...
    def put_intent(self, intent: Intent) -> None: ...
    def clear_intent(self, path: RelPath) -> None: ...
    def put_recipe(self, digest: Digest, packed: bytes) -> None: ...
    def put_chunks(self, content: Digest, chunks: tuple[Chunk, ...]) -> None:
        """Remember where the chunks of a file's content lie, for `locate_chunk`."""
        ...

    def put_meta(self, key: str, value: bytes) -> None: ...
    def open_hold(self, paths: Iterable[RelPath], total: int) -> int:
        """Hold the deletion of these paths (`total`: files that there were); the hold's id."""
        ...

    def extend_hold(self, hold: int, paths: Iterable[RelPath], total: int) -> None:
        """Hold the deletion of these as well, and note of how many files that is."""
        ...

    def release_held(self, paths: Iterable[RelPath]) -> None:
        """These are not held any more; a hold that holds nothing is over."""
        ...

    def put_aside(self, pull: int, entries: tuple[Entry, ...]) -> None:
        """Keep a part of a long pull where nothing reads it (R10)."""
        ...

    def aside(self, pull: int) -> Iterator[Entry]: ...
    def prune_contents(self, limit: int) -> int:
        """Forget up to `limit` recipes and chunk places of contents that nothing refers to any more; how many went."""
        ...

    def drop_aside(self, pull: int | None) -> None:
        """Forget the parts of one pull, or of all."""
        ...


class Index(Protocol):
    def write(self) -> AbstractContextManager[Tx]: ...
    def read(self) -> AbstractContextManager[View]:
        """A snapshot on a connection of its own; writes go on beside it."""
        ...

    def close(self) -> None: ...


# ---- links

Frame = TypeVar("Frame")


class Pipe(Protocol[Frame]):
    """One stream of frames in each direction. Frames that arrive are valid; a peer's fault ends the pipe."""

    async def send(self, frame: Frame) -> None:
        """Queue the frame, waiting while too many wait already. Raises `LinkLost` when the pipe has ended."""
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """What arrives, until the pipe ends."""
        ...


class Connection(Protocol):
    """The three streams that join this node with one member, whoever dialled."""

    @property
    def peer(self) -> NodeId: ...
    @property
    def dialled(self) -> bool: ...
    @property
    def address(self) -> str: ...
    @property
    def link(self) -> Pipe[LinkFrame]: ...
    @property
    def index(self) -> Pipe[IndexFrame]: ...
    @property
    def carry(self) -> Pipe[CarryFrame]: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    @property
    def fault(self) -> str: ...
    def hush(self) -> None: ...
    async def close(self) -> None: ...


class Ear(Protocol):
    """What hears of members in the local network, and lets them hear of this node (see `wire.discover`)."""

    async def start(self, interfaces: Sequence[str]) -> None:
        """Listen on the interfaces with these IP addresses; none given: on all. Raises `OSError`."""
        ...

    async def announce(self, name: str, addresses: Sequence[str]) -> None:
        """Be found under that name at these addresses, instead of what was announced before."""
        ...

    def look_again(self) -> None:
        """Other names are wanted than before."""
        ...

    async def next(self) -> tuple[str, tuple[str, ...]]:
        """Wait for a wanted name that says where it is."""
        ...

    async def stop(self) -> None: ...

"""What can go wrong with the index, in words that the engine can tell apart without knowing SQLite.

The walls: damage means set aside and start anew (R11), so it is only ever said when SQLite itself says "corrupt" or
"not a database". A full disk is not damage; calling it so would cost the pool's memory of this folder.
"""


class IndexDamaged(Exception):
    """The index's file is not an index of ours or is corrupt. Close it, `Index.set_aside` it, begin a new one."""


class IndexTooNew(Exception):
    """The index was written by a newer Meerkat. Nothing was touched."""


class IndexUnavailable(Exception):
    """The index cannot be read or written now (disk full, I/O error, locked). Nothing was committed; try again.

    Attributes:
        full: the disk is full.
    """

    def __init__(self, text: str, *, full: bool = False) -> None:
        super().__init__(text)
        self.full = full

"""Proof that the index is the one this node last wrote, kept outside the folder (MERGE rule R12).

A dot must never be given twice. A copied folder, a restored backup or a cloned machine brings an index whose author
may have written more elsewhere; so an author goes on only when the witness agrees: same machine, same inode of the
index, the same count of starts, and a clean stop at the same sequence. Else the node writes as a new author (a new
epoch; the price is one line in a vector), and when the witness shows that this very index was newer once, it first
learns from a member what it has forgotten.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct


class Verdict(Struct, frozen=True):
    """What the witness says of an index.

    Attributes:
        proven: the author may go on.
        older: the index was rolled back below what the witness saw.
        moved: this index was not seen at this place on this machine before: the folder was copied or moved here.
    """

    proven: bool
    older: bool
    moved: bool = False


def state_home() -> Path:
    """Where this user's programs keep state (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def machine_name() -> str:
    """Something that a copy of the folder on another machine does not share; empty when the platform has nothing."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text:
            return text
    return ""


class Witness:
    """One small file per folder, named by the folder's real path."""

    def __init__(self, folder: Path, index: Path, *, home: Callable[[], Path] = state_home) -> None:
        self._index = index
        name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
        try:
            self._file: Path | None = home() / "meerkat" / f"{name}.json"
        except RuntimeError:  # no home directory: nothing can be proven, every start is a new epoch
            self._file = None

    def judge(self, node: str, starts: int, seq: int) -> Verdict:
        """Compare what the index says of itself with what was seen from outside.

        Args:
            starts: how often a node has started on this index.
            seq: the last sequence of its author.
        """
        seen = self._read()
        if seen is None or seen.get("node") != node or seen.get("machine") != machine_name():
            return Verdict(proven=False, older=False, moved=True)
        counted, wrote = seen.get("starts"), seen.get("seq")
        if not isinstance(counted, int) or not isinstance(wrote, int):
            return Verdict(proven=False, older=False)
        same = seen.get("inode") == self._inode() and seen.get("clean") is True
        return Verdict(
            proven=same and (counted, wrote) == (starts, seq),
            older=starts < counted or (starts == counted and seq < wrote),
            moved=seen.get("inode") != self._inode(),
        )

    def testify(self, node: str, starts: int, seq: int, *, clean: bool) -> bool:
        """Note what the index has durably written; False when this place cannot be written."""
        if self._file is None:
            return False
        value = {"node": node, "machine": machine_name(), "inode": self._inode()}
        text = json.dumps({**value, "starts": starts, "seq": seq, "clean": clean})
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            with open(fresh, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._file)
        except OSError:
            return False
        return True

    def forget(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _inode(self) -> int:
        try:
            return self._index.stat().st_ino
        except OSError:
            return 0

    def _read(self) -> dict[str, object] | None:
        if self._file is None:
            return None
        try:
            value = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

"""The note beside each thing in the trash: where it stood, what it was, how it looked.

Plain JSON, for people without Meerkat. Nothing in it is believed further than it can be read: a note that is missing or
damaged leaves bytes that are listed without a path.
"""

import json
import os
import time
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from meerkat.disk import platform
from meerkat.disk.root import stat_of
from meerkat.disk.trouble import GONE, blocked
from meerkat.model.limits import RACY_WINDOW_NS
from meerkat.model.version import Content, Kind

NOTE: Final = ".json"
_BYTES_MAX: Final = 64 * 1024


class Kept(Struct, frozen=True):
    """One thing in the trash.

    Attributes:
        id: its name for `take` and `drop`, `DAY/NAME`.
        path: where it stood; empty when its note was lost.
        content: what it was when it came in.
        size, mtime_ns: of a file, when it came in.
        mode: a file's permission bits.
        trashed_at: when, UTC.
        late: the file was written after it came in, by a process that still had it open.
        unproven: its looks do not prove that it was not: only its bytes can tell.
    """

    id: str
    path: str
    content: Content
    size: int
    mtime_ns: int
    trashed_at: datetime
    late: bool = False
    unproven: bool = False
    mode: int = 0o644


def write_note(folder: int, name: str, kept: Kept) -> None:
    """Write the note for what is, or is about to be, at `name` in an open folder.

    Raises:
        OSError: it cannot be written, or there is one already.
    """
    note = {
        "path": kept.path,
        "kind": kept.content.kind.name.lower(),
        "digest": kept.content.ident.hex() if kept.content.kind is Kind.FILE else "",
        "target": os.fsdecode(kept.content.ident) if kept.content.kind is Kind.SYMLINK else "",
        "size": kept.size,
        "mtime_ns": kept.mtime_ns,
        "trashed_at": kept.trashed_at.isoformat().replace("+00:00", "Z"),
    }
    if kept.unproven:
        note["unproven"] = True
    handle = os.open(name + NOTE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        platform.write_all(handle, json.dumps(note).encode(), 0)
    finally:
        os.close(handle)


def read_note(folder: int, day: str, name: str) -> Kept | None:
    """What the note says; None when it is missing or not one of ours."""
    try:
        handle = platform.open_beneath(folder, name + NOTE, os.O_RDONLY | os.O_NONBLOCK)
        try:
            note = json.loads(os.read(handle, _BYTES_MAX))
        finally:
            os.close(handle)
        kind = Kind[str(note["kind"]).upper()]
        ident = bytes.fromhex(note["digest"]) if kind is Kind.FILE else os.fsencode(str(note["target"]))
        at = datetime.fromisoformat(str(note["trashed_at"])).astimezone(UTC)
        path, size, mtime_ns = str(note["path"]), int(note["size"]), int(note["mtime_ns"])
        unproven = bool(note.get("unproven"))
        return Kept(f"{day}/{name}", path, Content(kind, ident), size, mtime_ns, at, unproven=unproven)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_entry(folder: int, day: str, name: str, has_bytes: bool) -> Kept | None:
    """The thing at `name` of an open day's folder, and whether it was written to; None when there is nothing.

    Raises:
        PathBlocked: it cannot be looked at.
    """
    kept = read_note(folder, day, name)
    if not has_bytes:
        return kept if kept is not None and kept.content.kind is Kind.SYMLINK else None
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise blocked(f"{day}/{name}", error) from error
    if kept is None:
        at = datetime.fromtimestamp(found.st_ctime_ns / 1e9, UTC)
        return Kept(f"{day}/{name}", "", Content(Kind.FILE, b""), found.st_size, found.st_mtime_ns, at)
    seen = stat_of(found)
    if seen is None:
        return kept
    kept = replace(kept, mode=seen.mode)
    if (seen.size, seen.mtime_ns) == (kept.size, kept.mtime_ns):
        return kept
    # A file with another name besides, in the tree or elsewhere: whoever writes to it is seen there.
    late = found.st_nlink == 1
    return replace(kept, size=seen.size, mtime_ns=seen.mtime_ns, late=late)


def is_recent(mtime_ns: int) -> bool:
    """True when a write just now could leave the same time of writing (git's racy-clean rule)."""
    return abs(time.time_ns() - mtime_ns) <= RACY_WINDOW_NS

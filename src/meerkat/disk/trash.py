"""Keeps what was replaced or removed on a peer's word, so that a person can have it back (G2).

`.meerkat/trash/2026-05-04/3f9a12c4d5e6-report.docx` holds the bytes, and `….json` beside it says what they were. The
note is written first and the bytes come by a rename: after a crash there may be a note without bytes (dropped), or
bytes whose note was not yet on the disk (listed without a path), but never bytes that are nowhere.
"""

import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from meerkat.core.retain import trash_to_drop
from meerkat.disk import platform
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage, check_stage_name, private_folder
from meerkat.disk.trouble import GONE, blocked
from meerkat.model.limits import TRASH_NAME_CHARS_MAX
from meerkat.model.path import MARKER, RelPath
from meerkat.model.path import name as last_name
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Content, Kind

_NOTE: Final = ".json"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ID: Final = re.compile(r"(\d{4}-\d\d-\d\d)/([0-9a-f]{12}-[A-Za-z0-9._-]+)")
_NOTE_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing in the trash.

    Attributes:
        id: its name for `take` and `drop`, `DAY/NAME`.
        path: where it stood; empty when its note was lost.
        content: what it was when it came in.
        size, mtime_ns: of a file, when it came in.
        trashed_at: when, UTC.
        late: the file was written after it came in, by a process that still had it open.
    """

    id: str
    path: str
    content: Content
    size: int
    mtime_ns: int
    trashed_at: datetime
    late: bool = False


class Trash:
    """The folder's trash. Calls may come from several threads at once."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.handle = private_folder(root, "trash")
        self._lock = threading.Lock()
        self._found: dict[bytes, str] | None = None  # ids by digest, read from the notes when first asked for

    def close(self) -> None:
        """Give the handle back."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def keep(self, stage: Stage, stage_name: str, path: RelPath, content: Content) -> str:
        """Move what an exchange brought out to the stage name into the trash.

        A link is kept in its note alone; an empty folder is removed and nothing is kept of it (returns "").

        Returns:
            The id under which it can be had back.

        Raises:
            PathBlocked: the system refuses; the thing is still under its stage name.
        """
        check_stage_name(stage_name)
        now = datetime.now(UTC)
        try:
            found = os.stat(stage_name, dir_fd=stage.handle, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(stage_name, dir_fd=stage.handle)
                return ""
            if stat.S_ISLNK(found.st_mode):
                target = os.fsencode(os.readlink(stage_name, dir_fd=stage.handle))
                content = Content(Kind.SYMLINK, target)
            day = now.strftime("%Y-%m-%d")
            with_name = f"{secrets.token_hex(6)}-{_safe(last_name(path))}"
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            kept = Kept(f"{day}/{with_name}", path, content, size, found.st_mtime_ns, now)
            folder = self._open_day(day, create=True)
            try:
                _write_note(folder, with_name + _NOTE, kept)
                if content.kind is Kind.SYMLINK:
                    os.unlink(stage_name, dir_fd=stage.handle)
                else:
                    platform.rename_noreplace(stage.handle, stage_name, folder, with_name)
            finally:
                os.close(folder)
        except OSError as error:
            raise blocked(path, error) from error
        with self._lock:
            if self._found is not None and content.kind is Kind.FILE:
                self._found[content.ident] = kept.id
        return kept.id

    def find(self, digest: bytes) -> str | None:
        """The id of a kept file with that content, as it was when it came in."""
        with self._lock:
            if self._found is None:
                self._found = {each.content.ident: each.id for each in self.entries() if each.content.kind is Kind.FILE}
            return self._found.get(digest)

    def read(self, entry_id: str, offset: int, length: int) -> bytes:
        """Bytes of a kept file; empty when it is not there, or shorter."""
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
            try:
                handle = platform.open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    data = os.pread(handle, length, offset)
                finally:
                    os.close(handle)
            finally:
                os.close(folder)
        except OSError:
            return b""
        return data if len(data) == length else b""

    def sync(self) -> None:
        """Make everything kept so far durable.

        Raises:
            PathBlocked: the disk reported an error.
        """
        try:
            platform.sync_file_system(self.handle)
        except OSError as error:
            raise blocked(f"{MARKER}/trash", error) from error

    def entries(self) -> Iterator[Kept]:
        """Everything that can be had back, oldest day first."""
        for day in self._days():
            try:
                folder = self._open_day(day, create=False)
            except OSError:
                continue
            try:
                names = set(os.listdir(folder))
                for name in sorted({name.removesuffix(_NOTE) for name in names}):
                    if _ID.fullmatch(f"{day}/{name}"):
                        kept = _read_entry(folder, day, name, name in names)
                        if kept is not None:
                            yield kept
            finally:
                os.close(folder)

    def take(self, entry_id: str, stage: Stage, stage_name: str) -> Content:
        """Make a copy of a kept file, or the kept link again, under a stage name, for putting it back.

        Raises:
            KeyError: no such entry.
            PathBlocked: the system refuses.
        """
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
        except OSError as error:
            raise KeyError(entry_id) from error
        try:
            handle = -1
            try:
                handle = platform.open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                kept = _read_entry(folder, day, name, False)
                if kept is None:
                    raise KeyError(entry_id) from None
                stage.drop(stage_name)
                os.symlink(os.fsdecode(kept.content.ident), stage_name, dir_fd=stage.handle)
                return kept.content
            try:
                found = os.fstat(handle)
                stage.drop(stage_name)
                stage.prepare(stage_name, found.st_size)
                writing = platform.open_beneath(stage.handle, stage_name, os.O_RDWR)
                try:
                    if platform.copy_range(handle, 0, writing, 0, found.st_size) != found.st_size:
                        text = "the kept file ends before its size"
                        raise PathBlocked(Problem(entry_id, Reason.FILE_BUSY, text, "try again"))
                    os.fchmod(writing, stat.S_IMODE(found.st_mode) & 0o777)
                    os.utime(writing, ns=(found.st_mtime_ns, found.st_mtime_ns))
                finally:
                    os.close(writing)
            finally:
                os.close(handle)
        except OSError as error:
            raise blocked(entry_id, error) from error
        finally:
            os.close(folder)
        content = stage.content(stage_name)
        assert content is not None
        return content

    def drop(self, entry_id: str) -> None:
        """Forget a kept thing for good; nothing to do when it is not there."""
        with self._lock:
            self._found = None
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
        except OSError:
            return
        try:
            for each in (name, name + _NOTE):  # the note last: bytes without a note would be harder to find
                try:
                    os.unlink(each, dir_fd=folder)
                except FileNotFoundError:
                    pass
        except OSError as error:
            raise blocked(entry_id, error) from error
        finally:
            os.close(folder)

    def prune(self, now_s: float, age_s_max: float, bytes_max: int) -> list[str]:
        """Drop what is older than `age_s_max` seconds at `now_s` (Unix time), then the oldest beyond `bytes_max`.

        Returns:
            The ids dropped.
        """
        items = [(kept.id, kept.trashed_at.timestamp(), kept.size) for kept in self.entries()]
        dropped = trash_to_drop(items, now_s, age_s_max, bytes_max)
        for entry_id in dropped:
            self.drop(entry_id)
        for day in self._days():
            try:
                os.rmdir(day, dir_fd=self.handle)
            except OSError:  # not empty, as a rule
                continue
        return dropped

    # ---- within

    def _days(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.handle) if _DAY.fullmatch(name))
        except OSError as error:
            raise blocked(f"{MARKER}/trash", error) from error

    def _open_day(self, day: str, *, create: bool) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            return platform.open_beneath(self.handle, day, flags)
        except FileNotFoundError:
            if not create:
                raise
            try:
                os.mkdir(day, 0o700, dir_fd=self.handle)
            except FileExistsError:
                pass
            return platform.open_beneath(self.handle, day, flags)

    def _split(self, entry_id: str) -> tuple[str, str]:
        """The day and the name of an id; it may come from a person's command line, so its form is checked."""
        match = _ID.fullmatch(entry_id)
        if match is None or match[2].endswith(_NOTE):
            raise KeyError(entry_id)
        return match[1], match[2]


def _safe(name: str) -> str:
    """A short form of a name that every file system and shell takes; the end is kept, for the suffix."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-TRASH_NAME_CHARS_MAX:]
    return plain.removesuffix(_NOTE) + "_json" if plain.endswith(_NOTE) else plain


def _write_note(folder: int, name: str, kept: Kept) -> None:
    note = {
        "path": kept.path,
        "kind": kept.content.kind.name.lower(),
        "digest": kept.content.ident.hex() if kept.content.kind is Kind.FILE else "",
        "target": os.fsdecode(kept.content.ident) if kept.content.kind is Kind.SYMLINK else "",
        "size": kept.size,
        "mtime_ns": kept.mtime_ns,
        "trashed_at": kept.trashed_at.isoformat().replace("+00:00", "Z"),
    }
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        platform.write_all(handle, json.dumps(note).encode(), 0)
    finally:
        os.close(handle)


def _read_note(folder: int, day: str, name: str) -> Kept | None:
    """What the note says; None when it is missing or not one of ours."""
    try:
        handle = platform.open_beneath(folder, name + _NOTE, os.O_RDONLY | os.O_NONBLOCK)
        try:
            note = json.loads(os.read(handle, _NOTE_BYTES_MAX))
        finally:
            os.close(handle)
        kind = Kind[str(note["kind"]).upper()]
        ident = bytes.fromhex(note["digest"]) if kind is Kind.FILE else os.fsencode(str(note["target"]))
        at = datetime.fromisoformat(str(note["trashed_at"])).astimezone(UTC)
        path, size, mtime_ns = str(note["path"]), int(note["size"]), int(note["mtime_ns"])
        return Kept(f"{day}/{name}", path, Content(kind, ident), size, mtime_ns, at)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_entry(folder: int, day: str, name: str, has_bytes: bool) -> Kept | None:
    kept = _read_note(folder, day, name)
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
        return Kept(f"{day}/{name}", "", Content(Kind.FILE, b""), found.st_size, found.st_mtime_ns, at, late=True)
    late = (found.st_size, found.st_mtime_ns) != (kept.size, kept.mtime_ns)
    if not late:
        return kept
    return Kept(kept.id, kept.path, kept.content, found.st_size, found.st_mtime_ns, kept.trashed_at, late=True)

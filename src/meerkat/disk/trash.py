"""Keeps what was replaced or removed on a peer's word, so that a person can have it back (G2).

`.meerkat/trash/2026-05-04/3f9a12c4d5e6-report.docx` holds the bytes, and `….json` beside it says what they were. The
note is written first and the bytes come by a rename: after a crash there may be a note without bytes (dropped), or
bytes whose note was not yet on the disk (listed without a path), but never bytes that are nowhere.

What comes in is the very file that stood in the tree, so a process that still has it open goes on writing here. The
note says how the file looked when it was known what is in it; an entry that looks otherwise is `late`, and is never
pruned: `release` puts that same file into the tree again (R8).
"""

import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from meerkat.core.retain import trash_to_drop
from meerkat.disk import platform
from meerkat.disk.root import Root, special_problem, stat_of
from meerkat.disk.scan import digest_of
from meerkat.disk.stage import Stage, check_stage_name, private_folder
from meerkat.disk.trash_note import NOTE, Kept, is_recent, read_entry, write_note
from meerkat.disk.trouble import GONE, blocked
from meerkat.model.limits import TRASH_NAME_CHARS_MAX
from meerkat.model.path import MARKER, RelPath
from meerkat.model.path import name as last_name
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Content, Kind, Stat

_ANEW: Final = "new-"  # a note being rewritten; never the beginning of an entry's name
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ID: Final = re.compile(r"(\d{4}-\d\d-\d\d)/([0-9a-f]{12}-[A-Za-z0-9._-]+)")

__all__ = ["Kept", "Trash"]


class Trash:
    """The folder's trash. Calls may come from several threads at once.

    Attributes:
        on_kept: called with the id of each file that has come in, from whichever thread put it there.
        grown: bytes that came in since it was last pruned.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self.handle = private_folder(root, "trash")
        self.on_kept: Callable[[str], None] = lambda entry_id: None
        self.grown = 0
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # a note whose bytes are about to come is not one that has lost them
        self._found: dict[bytes, str] | None = None  # ids by digest, read from the notes when first asked for

    def close(self) -> None:
        """Give the handle back."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def keep(self, stage: Stage, stage_name: str, path: RelPath, content: Content, known: Stat | None = None) -> str:
        """Move what an exchange brought out to the stage name into the trash.

        A link is kept in its note alone; an empty folder is removed and nothing is kept of it (returns "").

        Args:
            known: how a file looked when `content` was known to be in it; None: only its bytes can tell.

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
            seen = known or stat_of(found)
            if seen is None:
                raise PathBlocked(special_problem(path, found.st_mode))
            is_file, size, mtime_ns = content.kind is Kind.FILE, seen.size, seen.mtime_ns
            unproven = is_file and (known is None or is_recent(mtime_ns))
            kept = Kept(f"{day}/{with_name}", path, content, size, mtime_ns, now, unproven=unproven)
            folder = self._open_day(day, create=True)
            try:
                with self._writing:
                    write_note(folder, with_name, kept)
                    if is_file:
                        platform.rename_noreplace(stage.handle, stage_name, folder, with_name)
                    else:
                        os.unlink(stage_name, dir_fd=stage.handle)
            finally:
                os.close(folder)
        except OSError as error:
            raise blocked(path, error) from error
        with self._lock:
            self.grown += size
            if self._found is not None and content.kind is Kind.FILE:
                self._found[content.ident] = kept.id
        if is_file:
            self.on_kept(kept.id)
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

    def newest(self) -> float | None:
        """When the last thing came in (Unix time); None when there is nothing."""
        return max((kept.trashed_at.timestamp() for kept in self.entries()), default=None)

    def days(self) -> list[str]:
        """The folders of the trash by name, oldest first."""
        return self._days()

    def entry(self, entry_id: str) -> Kept | None:
        """One thing in the trash; None when it is not there."""
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
        except OSError:
            return None
        try:
            return read_entry(folder, day, name, platform.exists(folder, name))
        finally:
            os.close(folder)

    def read_content(self, entry_id: str) -> tuple[Content, Stat]:
        """What a kept file holds now, by reading it, and how it looked before that.

        Raises:
            KeyError: no such file.
            PathBlocked: it cannot be read.
        """
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
            try:
                handle = platform.open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    seen = stat_of(os.fstat(handle))
                    if seen is None or seen.kind is not Kind.FILE:
                        raise KeyError(entry_id)
                    return Content(Kind.FILE, digest_of(handle)[0]), seen
                finally:
                    os.close(handle)
            finally:
                os.close(folder)
        except FileNotFoundError as error:
            raise KeyError(entry_id) from error
        except OSError as error:
            raise blocked(entry_id, error) from error

    def vouch(self, kept: Kept, content: Content, seen: Stat) -> None:
        """Note that a kept file holds `content` while it looks as `seen`; it is late only when it looks otherwise.

        Raises:
            PathBlocked: the note cannot be written; the old one stands.
        """
        day, name = self._split(kept.id)
        unproven = is_recent(seen.mtime_ns)
        proven = replace(kept, content=content, size=seen.size, mtime_ns=seen.mtime_ns, unproven=unproven)
        anew = _ANEW + name
        try:
            folder = self._open_day(day, create=False)
            try:
                with self._writing:
                    try:
                        os.unlink(anew + NOTE, dir_fd=folder)  # of a life that was cut off
                    except FileNotFoundError:
                        pass
                    write_note(folder, anew, proven)
                    os.rename(anew + NOTE, name + NOTE, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise blocked(kept.path, error) from error
        with self._lock:
            self._found = None

    def release(self, entry_id: str, path: RelPath) -> bool:
        """Move a kept file itself, so that whoever has it open goes on in it there, to `path` in the tree.

        The note goes after the move is durable: a crash in between leaves a note without bytes.

        Returns:
            False: something stands there, or no folder for it, or the file is gone; nothing was moved.

        Raises:
            PathBlocked: the system refuses, or cannot say that the move is durable.
        """
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
            try:
                with self._root.parent(path) as (above, last):
                    platform.rename_noreplace(folder, name, above, last)
            finally:
                os.close(folder)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in GONE:
                return False
            raise blocked(path, error) from error
        self.sync()
        self.drop(entry_id)
        return True

    def entries(self) -> Iterator[Kept]:
        """Everything that can be had back, oldest day first."""
        for day in self._days():
            try:
                folder = self._open_day(day, create=False)
            except OSError:
                continue
            try:
                names = set(os.listdir(folder))
                for name in sorted({name.removesuffix(NOTE) for name in names}):
                    if _ID.fullmatch(f"{day}/{name}"):
                        kept = read_entry(folder, day, name, name in names)
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
                kept = read_entry(folder, day, name, False)
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
            for each in (name, name + NOTE):  # the note last: bytes without a note would be harder to find
                try:
                    os.unlink(each, dir_fd=folder)
                except FileNotFoundError:
                    pass
        except OSError as error:
            raise blocked(entry_id, error) from error
        finally:
            os.close(folder)

    def prune(self, now_s: float, age_s_max: float, bytes_max: int) -> list[str]:
        """Drop what is older than `age_s_max` seconds at `now_s` (Unix time), and what is beyond `bytes_max`.

        What is late stays: it is nowhere else. So does what a program has open for writing: what that is still going
        to write would never be seen.

        Returns:
            The ids dropped.
        """
        with self._lock:
            self.grown = 0
        items = [(kept.id, kept.trashed_at.timestamp(), kept.size) for kept in self.entries() if not kept.late]
        dropped = []
        for entry_id in trash_to_drop(items, now_s, age_s_max, bytes_max):
            kept = self.entry(entry_id)
            if kept is not None and not kept.late and not self._is_being_written(entry_id):
                self.drop(entry_id)
                dropped.append(entry_id)
        for day in self._days():
            self._sweep(day)
            try:
                os.rmdir(day, dir_fd=self.handle)
            except OSError:  # not empty, as a rule
                continue
        return dropped

    # ---- within

    def _is_being_written(self, entry_id: str) -> bool:
        day, name = self._split(entry_id)
        try:
            folder = self._open_day(day, create=False)
        except OSError:
            return False
        try:
            return platform.is_being_written(folder, name)
        finally:
            os.close(folder)

    def _sweep(self, day: str) -> None:
        """Drop what a crash has left of a day: notes without bytes, notes that were being rewritten."""
        try:
            folder = self._open_day(day, create=False)
        except OSError:
            return
        try:
            with self._writing:
                names = set(os.listdir(folder))
                for note in names:
                    name = note.removesuffix(NOTE)
                    if note == name or name in names:
                        continue
                    if name.startswith(_ANEW) or read_entry(folder, day, name, False) is None:
                        os.unlink(note, dir_fd=folder)
        except OSError as error:
            raise blocked(f"{MARKER}/trash/{day}", error) from error
        finally:
            os.close(folder)

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
        if match is None or match[2].endswith(NOTE):
            raise KeyError(entry_id)
        return match[1], match[2]


def _safe(name: str) -> str:
    """A short form of a name that every file system and shell takes; the end is kept, for the suffix."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-TRASH_NAME_CHARS_MAX:]
    return plain.removesuffix(NOTE) + "_json" if plain.endswith(NOTE) else plain

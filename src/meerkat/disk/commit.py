"""The exchange: puts a staged thing in its place without ever losing what a person wrote there meanwhile (R8, G2, G3).

Look, exchange atomically, inspect what came out. If that is not what the index expected, it goes back at once, and the
engine scans first. If even the way back brings out a person's bytes, they stay under the stage name and are reported
(`Displaced`). Whoever reads the path during all this sees the old or the new thing, never none and never a mix.

The caller has made an intent durable before; after a crash `mend` and the stage tell what had happened (R9).
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from meerkat.disk import platform
from meerkat.disk.naming import OtherSpelling
from meerkat.disk.root import Root, special_problem, stat_of
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage, check_stage_name
from meerkat.disk.trouble import GONE, blocked, clash, shown
from meerkat.model.limits import NAMES_SHOWN_MAX, PUT_BACK_TRIES_MAX, RACY_WINDOW_NS, STAGE_FSYNC_FILES_MAX
from meerkat.model.path import MARKER, PathFault, RelPath, check_name, parent
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Kind, Stat, Version

Between = Callable[[str], None]
"""Called after a step with its name: "looked", "exchanged", "inspected", "returned". Tests act as people there."""


class Placed(Struct, frozen=True):
    """Done. `base` is what to record (None: the path is empty now); `old` the stage name that holds the old thing."""

    base: Base | None
    old: str | None


class Raced(Struct, frozen=True):
    """The path is not as expected; it is untouched and the staged thing, if any, is where it was. Scan first.

    `exposed`: the staged thing stood at the path for a moment. Somebody may have opened it there and write to it later:
    it goes to the trash, which looks at it again, and is neither dropped nor used a second time.
    """

    why: str
    exposed: bool = False


class Displaced(Struct, frozen=True):
    """The path raced, and what `name` now holds in the stage is a person's: it must go to a file of its own."""

    name: str


class Occupied(Struct, frozen=True):
    """The folder was kept because it still holds something: the first few of `names` that a path can have.

    `strange`: names that can never be shared (not UTF-8, a nested `.meerkat`), as they can be shown.
    """

    names: tuple[str, ...]
    strange: tuple[str, ...] = ()


def _nothing(step: str) -> None:
    """The `between` of real life."""


def place(
    root: Root,
    stage: Stage,
    path: RelPath,
    name: str,
    inode: int,
    expected: Base | None,
    version: Version,
    between: Between = _nothing,
) -> Placed | Raced | Occupied | Displaced:
    """Put the staged thing `name`, which is `inode`, at `path`, where `expected` is believed to stand.

    Raises:
        PathBlocked: the system refuses; nothing was moved.
    """
    check_stage_name(name)
    why = root.naming.refusal(path.rpartition("/")[2])
    if why:
        raise PathBlocked(Problem(path, Reason.NAME_NOT_ALLOWED, why, "rename it; it stays as it is elsewhere"))
    staged = stage.stat(name)
    if staged is None or staged.inode != inode:
        return Raced("the staged thing is gone")
    try:
        with root.parent(path) as (folder, last):
            why = _differs(root, path, folder, last, expected)
            if why:
                return Raced(why)
            if expected is not None and expected.stat.kind is Kind.FOLDER and (held := _held_names(root, path)):
                return held
            between("looked")
            if expected is None:
                platform.rename_noreplace(stage.handle, name, folder, last)
            else:
                platform.exchange(stage.handle, name, folder, last)
            between("exchanged")
            if expected is not None and not _is_old(stage, name, expected.stat):
                return _return_exchanged(stage, name, folder, last, staged, between)
            between("inspected")
            base = _base_of(folder, last, staged, version)
    except FileExistsError:
        return Raced("something has appeared there")
    except OtherSpelling as error:
        raise clash(path, error) from error
    except OSError as error:
        if error.errno in GONE:
            return Raced("it, or a folder above it, is gone")
        raise blocked(path, error) from error
    return Placed(base, None if expected is None else name)


def remove(
    root: Root, stage: Stage, path: RelPath, name: str, expected: Base, between: Between = _nothing
) -> Placed | Raced | Displaced:
    """Move the file or link at `path`, believed to be `expected`, to the free stage name `name`.

    Raises:
        PathBlocked: the system refuses, or the stage name is taken; nothing was moved.
        ValueError: `expected` is a folder; those are removed by `remove_folder`.
    """
    check_stage_name(name)
    if expected.content.kind is Kind.FOLDER:
        raise ValueError("a folder is removed by remove_folder")
    try:
        with root.parent(path) as (folder, last):
            why = _differs(root, path, folder, last, expected)
            if why:
                return Raced(why)
            between("looked")
            platform.rename_noreplace(folder, last, stage.handle, name)
            between("exchanged")
            if _is_old(stage, name, expected.stat):
                return Placed(None, name)
            try:
                platform.rename_noreplace(stage.handle, name, folder, last)
            except OSError:  # taken, or the folder is gone: whatever the cause, the bytes are safe where they are
                return Displaced(name)
            between("returned")
    except OSError as error:
        if error.errno in GONE:
            return Raced("it, or a folder above it, is gone")
        raise blocked(path, error) from error
    return Raced("it was written to just now")


def remove_folder(root: Root, path: RelPath, expected: Base) -> Placed | Raced | Occupied:
    """Remove the folder at `path`, believed to be `expected`, if it is empty; never anything in it.

    Raises:
        PathBlocked: the system refuses.
    """
    seen = root.lstat(path)
    if seen != expected.stat:
        return Raced("it is another folder, or none, or its bits were changed")
    try:
        with root.parent(path) as (folder, last):
            try:
                os.rmdir(last, dir_fd=folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return _held_names(root, path) or Raced("it held something just now")
    except OSError as error:
        if error.errno in GONE:
            return Raced("it, or a folder above it, is gone")
        raise blocked(path, error) from error
    return Placed(None, None)


def set_metadata(
    root: Root, path: RelPath, expected: Base, version: Version, between: Between = _nothing
) -> Base | Raced:
    """Give what stands at `path`, believed to be `expected`, the version's bits and times; its bytes stay.

    A folder gets bits only, a link its time only. Where a file's time is set the answer is racy: a write just before
    would have had its own time covered up, so the next look must read.

    Raises:
        PathBlocked: the system refuses.
    """
    try:
        with root.parent(path) as (folder, last):
            why = _differs(root, path, folder, last, expected)
    except OSError as error:
        why = "it, or a folder above it, is gone"
        if error.errno not in GONE:
            raise blocked(path, error) from error
    if why:
        return Raced(why)
    between("looked")
    kind = expected.stat.kind
    times = (version.mtime_ns, version.mtime_ns)
    timed = kind is Kind.FILE and expected.stat.mtime_ns != version.mtime_ns
    try:
        if kind is Kind.SYMLINK:
            with root.parent(path) as (folder, last):
                os.utime(last, ns=times, dir_fd=folder, follow_symlinks=False)
        else:
            with _held(root, path) as (handle, target):
                if stat_of(os.fstat(handle)) != expected.stat:
                    return Raced("it was replaced just now")
                if expected.stat.mode != version.mode:
                    os.chmod(target, version.mode)
                if timed:
                    os.utime(target, ns=times)
    except OSError as error:
        if error.errno in GONE:
            return Raced("it, or a folder above it, is gone")
        raise blocked(path, error) from error
    between("set")
    after = root.lstat(path)
    if after is None or (after.kind, after.inode, after.size) != (kind, expected.stat.inode, expected.stat.size):
        return Raced("it was replaced just now")
    if kind is Kind.FILE and not timed and after.mtime_ns != expected.stat.mtime_ns:
        return Raced("it was written to just now")
    return Base(expected.content, after, expected.recipe, timed or expected.racy)


def put_back(root: Root, stage: Stage, name: str, path: RelPath) -> bool:
    """Move what the stage name holds to `path` if nothing is there; False: something is, or no folder for it.

    Raises:
        PathBlocked: the system refuses.
    """
    check_stage_name(name)
    try:
        with root.parent(path) as (folder, last):
            platform.rename_noreplace(stage.handle, name, folder, last)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in GONE:
            return False
        raise blocked(path, error) from error
    return True


def undo(root: Root, stage: Stage, path: RelPath, name: str, inode: int) -> bool:
    """Take an exchange back, if what it put at `path` (`inode`) still stands there: afterwards the stage name holds
    that again, and the path what had come out. False: nothing was moved.

    Raises:
        PathBlocked: the system refuses.
    """
    check_stage_name(name)
    try:
        with root.parent(path) as (folder, last):
            seen = _lstat(folder, last)
            if seen is None or seen.inode != inode:
                return False
            platform.exchange(stage.handle, name, folder, last)
    except OSError as error:
        if error.errno in GONE:
            return False
        raise blocked(path, error) from error
    return True


def mend(root: Root, stage: Stage, path: RelPath, name: str) -> str | None:
    """After a crash, before anything else is concluded about an intent: end an exchange that was cut off.

    Only platforms without an atomic exchange leave such a thing. Afterwards the stage name holds the staged thing (the
    commit did not happen) or the old one (it did).

    Returns:
        A further stage name under which the old thing lies because a person has put another at `path` since: for the
        trash. None in every other case.

    Raises:
        PathBlocked: the system refuses.
    """
    check_stage_name(name)
    if not stage.has_aside(name):
        return None
    try:
        with root.parent(path) as (folder, last):
            left = platform.finish_exchange(stage.handle, name, folder, last)
    except OSError as error:
        if error.errno not in GONE:
            raise blocked(path, error) from error
        # The folder above is gone, and what stood at the path with it; only the aside, if any, is left of it.
        left = platform.finish_exchange(stage.handle, name, stage.handle, name)
    if not left:
        return None
    return stage.free_aside(name)


def sync_parents(root: Root, paths: Iterable[RelPath]) -> None:
    """Make the renames of `paths` durable: each distinct folder above them once, and the stage they came from.

    Raises:
        PathBlocked: the disk reported an error; nothing may be assumed durable.
    """
    folders = {parent(path) for path in paths}
    try:
        if len(folders) > STAGE_FSYNC_FILES_MAX:
            platform.sync_file_system(root.handle)
            return
        for folder in (*sorted(folders), RelPath(f"{MARKER}/stage")):
            try:
                handle = root.open_folder(folder)
            except OSError as error:
                if error.errno in GONE:
                    continue
                if error.errno in (errno.EACCES, errno.EPERM):  # may be entered, not listed
                    platform.sync_file_system(root.handle)
                    return
                raise
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise blocked("", error) from error


# ---- the steps


def _differs(root: Root, path: RelPath, folder: int, last: str, expected: Base | None) -> str:
    """Why `path` is not what `expected` says; empty when it is. Where an equal lstat proves nothing, it is read."""
    try:
        found = os.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return "" if expected is None else "it is gone"
    seen = stat_of(found)
    if seen is None:
        raise PathBlocked(special_problem(path, found.st_mode))
    if expected is None:
        return "something is there already"
    if seen != expected.stat:
        return "it was changed and not yet scanned"
    if expected.racy:
        base = look(root, path, expected).base
        if base is None or base.content != expected.content or base.stat != expected.stat:
            return "it was changed and not yet scanned"
    return ""


def _is_empty(folder: int, name: str) -> bool:
    """True when the folder `name` in an open folder holds nothing; not so when it cannot be listed."""
    try:
        handle = platform.open_beneath(folder, name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return not _names_in(handle)
        finally:
            os.close(handle)
    except OSError:
        return False


def _held_names(root: Root, path: RelPath) -> Occupied | None:
    """What the folder holds, if anything."""
    names = _first_names(root, path)
    fit = tuple(name for name in names if _is_shareable(name))
    return Occupied(fit, tuple(shown(name) for name in names if name not in fit)) if names else None


def _first_names(root: Root, path: RelPath) -> tuple[str, ...]:
    try:
        handle = root.open_folder(path)
        try:
            return _names_in(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in GONE:
            return ()
        raise blocked(path, error) from error


def _is_shareable(name: str) -> bool:
    try:
        check_name(name)
    except PathFault:
        return False
    return True


def _names_in(handle: int) -> tuple[str, ...]:
    names: list[str] = []
    with os.scandir(handle) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) == NAMES_SHOWN_MAX:
                break
    return tuple(sorted(names))


def _untimed(seen: Stat) -> tuple[object, ...]:
    """A stat without its ctime, which a rename changes."""
    return (seen.kind, seen.size, seen.mtime_ns, seen.inode, seen.mode)


def _lstat(folder: int, name: str) -> Stat | None:
    """What stands at a name of an open folder; None too for whatever cannot be seen, which is then not as expected."""
    try:
        return stat_of(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return None


def _is_old(stage: Stage, name: str, expected: Stat) -> bool:
    """True when what came out to the stage name is the thing that was expected, unwritten (and, a folder, empty)."""
    seen = _lstat(stage.handle, name)
    if seen is None or _untimed(seen) != _untimed(expected):
        return False
    return seen.kind is not Kind.FOLDER or _is_empty(stage.handle, name)


def _return_exchanged(
    stage: Stage, name: str, folder: int, last: str, staged: Stat, between: Between
) -> Raced | Displaced:
    """Give a person's thing, now under the stage name, its place back."""
    for _ in range(PUT_BACK_TRIES_MAX):
        try:
            platform.exchange(stage.handle, name, folder, last)
        except FileNotFoundError:  # a person has removed ours meanwhile: theirs goes to the empty place
            try:
                platform.rename_noreplace(stage.handle, name, folder, last)
            except FileExistsError:
                continue
            except OSError:
                return Displaced(name)
            return Raced("it was written to just now")  # ours is gone, so there is nothing to be discarded
        except OSError:
            return Displaced(name)
        between("returned")
        if _is_old(stage, name, staged):  # and nobody has put anything into a folder of ours meanwhile
            return Raced("it was written to just now", exposed=True)
        return Displaced(name)
    return Displaced(name)


def _base_of(folder: int, last: str, staged: Stat, version: Version) -> Base:
    """What to record after success: the version's content, and a stat that only our own, unwritten thing equals."""
    seen = _lstat(folder, last)
    if seen is None or _untimed(seen) != _untimed(staged):
        # Somebody was here already. With this stat the next look cannot take theirs for ours.
        seen = staged._replace(ctime_ns=0)
    # A write sets the time to now; ours is the version's. Only where that is now, too, could they be equal.
    racy = version.kind is Kind.FILE and abs(time.time_ns() - seen.mtime_ns) <= RACY_WINDOW_NS
    return Base(version.content, seen, version.recipe, racy)


@contextmanager
def _held(root: Root, path: RelPath) -> Iterator[tuple[int, int | str]]:
    """A handle on what stands at a path, and what to name it by when its bits are changed; follows nothing.

    Reading rights are not needed where the kernel knows `O_PATH`: its handles are changed through /proc/self/fd.
    """
    target: int | str
    try:
        target = handle = platform.open_beneath(root.handle, path, os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:
        handle = platform.open_beneath(root.handle, path, getattr(os, "O_PATH", os.O_RDONLY))
        target = f"/proc/self/fd/{handle}"
    try:
        yield handle, target
    finally:
        os.close(handle)

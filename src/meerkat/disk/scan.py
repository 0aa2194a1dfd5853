"""Looks at what stands on this disk: one path at a time (`look`), or a whole tree in order (`walk`).

A `Sight` is never guessed: either the lstat equals the known one and was not racy, or the bytes were read between two
equal stats. What could not be seen is said (`Unseen`), because "not seen" must never be taken for "deleted" (G2).
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import Final

from blake3 import blake3
from msgspec import Struct
from msgspec.structs import replace

from meerkat.core import chunk
from meerkat.disk.platform import is_mount
from meerkat.disk.root import Root, special_problem, stat_of
from meerkat.disk.trouble import GONE, blocked, changed, mounted, shown
from meerkat.model.ids import NO_DIGEST, Digest
from meerkat.model.limits import (
    DISK_READ_BYTES,
    FILE_BYTES_MAX,
    HASH_THREADS_MAX,
    MIB,
    MORSEL_BYTES_MAX,
    NAME_BYTES_MAX,
    PATH_BYTES_MAX,
    PATH_DEPTH_MAX,
    RACY_WINDOW_COARSE_NS,
    RACY_WINDOW_NS,
    RECIPE_CHUNKS_MAX,
    SINGLE_CHUNK_BYTES_MAX,
)
from meerkat.model.path import MARKER, PathFault, RelPath, check_name
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.recipe import Chunk, Recipe, RecipeFault, unpack_recipe
from meerkat.model.version import FOLDER, Base, Content, Kind, Stat

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SECOND_NS: Final = 1_000_000_000
_THREADED_BYTES_MIN: Final = 8 * MIB  # below it, starting hash threads costs more than they save
_STEP_BYTES: Final = 4 * MIB  # what hash threads are given at once


Recall = Callable[[Digest], bytes | None]
"""What this node still knows under a recipe's digest."""


class Sight(Struct, frozen=True):
    """What was found at `path`.

    Attributes:
        base: None when nothing is there.
        recipe: the chunks of a file that was read and has several.
        linked: a file that has other names as well, in the tree or elsewhere.
        data: the bytes of a file so small that they may ride with its entry, where it was read.
        same: the known lstat held and proved enough, nothing was read; `base` is the known one.
    """

    path: RelPath
    base: Base | None
    recipe: Recipe | None = None
    same: bool = False
    linked: bool = False
    data: bytes | None = None


class Unseen(Struct, frozen=True):
    """`path` and everything below it could not be looked at: nothing may be concluded about any of it."""

    path: RelPath
    problem: Problem


def is_racy(seen: Stat, now_ns: int) -> bool:
    """True when a write that comes after `now_ns` could leave the same stat (git's racy-clean rule).

    The kernel's clock for file times ticks every few milliseconds; some file systems keep whole seconds only.
    """
    coarse = seen.ctime_ns % _SECOND_NS == 0
    window = RACY_WINDOW_COARSE_NS if coarse else RACY_WINDOW_NS
    return abs(now_ns - seen.mtime_ns) <= window or abs(now_ns - seen.ctime_ns) <= window


def look(root: Root, path: RelPath, known: Base | None, recall: Recall = lambda digest: None) -> Sight:
    """See what is at `path`; reads it unless `known` still holds.

    Args:
        recall: gives the packed recipe of a digest; that of `known` makes cutting what replaces it cheaper.

    Raises:
        PathBlocked: it changed while it was read, is special, too large, or must not be read.
    """
    sight = look_unless_large(root, path, known, None, recall)
    assert sight is not None
    return sight


def look_unless_large(
    root: Root, path: RelPath, known: Base | None, bytes_end: int | None, recall: Recall = lambda digest: None
) -> Sight | None:
    """As `look`, for many paths one after the other; None: a file of `bytes_end` bytes or more would have to be read,
    which is to be done beside the others.

    Raises:
        PathBlocked: as `look`.
    """
    if not path:
        return Sight(path, Base(FOLDER, root.stat_self()))
    try:
        with root.parent(path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            seen = stat_of(found)
            if seen is None:
                raise PathBlocked(special_problem(path, found.st_mode))
            if known is not None and seen == known.stat and not known.racy:
                return Sight(path, known, same=True)
            match seen.kind:
                case Kind.FOLDER:
                    if is_mount(folder, name):
                        raise mounted(path)
                    return Sight(path, Base(FOLDER, seen))
                case Kind.SYMLINK:
                    return _look_link(path, folder, name, seen)
                case _:
                    if bytes_end is not None and seen.size >= bytes_end:
                        return None
                    return _look_file(path, folder, name, known, recall)
    except OSError as error:
        if error.errno in GONE:
            return Sight(path, None)
        raise blocked(path, error) from error


def _look_link(path: RelPath, folder: int, name: str, seen: Stat) -> Sight:
    now_ns = time.time_ns()
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in GONE or error.errno == errno.EINVAL:  # no link any more
            raise changed(path) from error
        raise
    _ensure_unchanged(path, folder, name, seen)
    content = Content(Kind.SYMLINK, os.fsencode(target))
    return Sight(path, Base(content, seen, racy=is_racy(seen, now_ns)))


def _look_file(path: RelPath, folder: int, name: str, known: Base | None, recall: Recall) -> Sight:
    try:
        handle = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in GONE or error.errno == errno.ENXIO:  # it became a link, or a socket
            raise changed(path) from error
        raise
    try:
        now_ns = time.time_ns()  # before the stat: whatever is written after it counts as "could look the same"
        opened = os.fstat(handle)
        before = stat_of(opened)
        if before is None or before.kind is not Kind.FILE:
            raise changed(path)
        if before.size > FILE_BYTES_MAX:
            raise _too_large(path)
        recipe, data = None, None
        if before.size > SINGLE_CHUNK_BYTES_MAX:
            digest, recipe = _read_chunks(path, handle, before.size, _recalled(known, recall))
        else:
            data = _read_whole(path, handle, before.size)
            digest = Digest(blake3(data).digest())
            if before.size > MORSEL_BYTES_MAX:
                data = None
        # The open handle keeps the inode from being given anew, so an equal lstat is the same, unwritten file.
        if not _are_equal(opened, _lstat(folder, name)):
            raise changed(path)
    finally:
        os.close(handle)
    recipe_digest = Digest(blake3(recipe.pack()).digest()) if recipe is not None else NO_DIGEST
    base = Base(Content(Kind.FILE, digest), before, recipe_digest, is_racy(before, now_ns))
    return Sight(path, base, recipe, linked=opened.st_nlink > 1, data=data)


def _ensure_unchanged(path: RelPath, folder: int, name: str, before: Stat) -> None:
    after = _lstat(folder, name)
    if after is None or stat_of(after) != before:
        raise changed(path)


def _lstat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _are_equal(one: os.stat_result, other: os.stat_result | None) -> bool:
    """Whether a `Stat` of the one would be that of the other, without making any."""
    return (
        other is not None
        and one.st_ctime_ns == other.st_ctime_ns
        and one.st_mtime_ns == other.st_mtime_ns
        and one.st_ino == other.st_ino
        and one.st_size == other.st_size
        and one.st_mode == other.st_mode
    )


def _read_whole(path: RelPath, handle: int, size: int) -> bytes:
    # One byte more than it should have tells a growing file without another call.
    data = os.read(handle, size + 1)
    while len(data) < size and (more := os.read(handle, size + 1 - len(data))):
        data += more
    if len(data) != size:
        raise changed(path)
    return data


def recognise(root: Root, path: RelPath, known: Base) -> Base | None:
    """The base of the file at `path`, if it holds what `known` did, under whatever name: read once and cut never.

    Raises:
        PathBlocked: it cannot be looked at.
    """
    try:
        with root.parent(path) as (folder, name):
            handle = os.open(name, _READ, dir_fd=folder)
            try:
                now_ns = time.time_ns()
                before = stat_of(os.fstat(handle))
                if before is None or (before.kind, before.size) != (Kind.FILE, known.stat.size):
                    return None
                if digest_of(handle) != (known.content.ident, before.size):
                    return None
                _ensure_unchanged(path, folder, name, before)
            finally:
                os.close(handle)
    except OSError as error:
        if error.errno in GONE or error.errno == errno.ENXIO:
            return None
        raise blocked(path, error) from error
    return replace(known, stat=before, racy=is_racy(before, now_ns))


def _recalled(known: Base | None, recall: Recall) -> Recipe | None:
    """The chunks of what stood there before."""
    packed = recall(known.recipe) if known is not None and known.recipe else None
    if known is None or packed is None:
        return None
    try:
        return unpack_recipe(packed, known.stat.size)
    except RecipeFault:
        return None


def _read_chunks(path: RelPath, handle: int, size: int, before: Recipe | None) -> tuple[Digest, Recipe]:
    whole = blake3(max_threads=HASH_THREADS_MAX if size >= _THREADED_BYTES_MIN else 1)
    chunks: list[Chunk] = []
    offset = 0

    def read(count: int) -> bytes:
        data = os.read(handle, max(1, min(count, DISK_READ_BYTES * 4)))
        whole.update(data)
        return data

    for piece in chunk.cut(read, size, before):
        chunks.append(Chunk(piece.digest, offset, len(piece.data)))
        offset += len(piece.data)
        if len(chunks) > RECIPE_CHUNKS_MAX:
            raise _too_large(path)
    if offset != size:
        raise changed(path)
    return Digest(whole.digest()), Recipe(tuple(chunks))


def _too_large(path: RelPath) -> PathBlocked:
    return PathBlocked(Problem(path, Reason.TOO_LARGE, "it is larger than Meerkat shares", "ignore it"))


def digest_of(handle: int) -> tuple[Digest, int]:
    """BLAKE3 and length of everything that is in the open file, from its start.

    Raises:
        OSError: reading failed.
    """
    size = os.fstat(handle).st_size
    threads = HASH_THREADS_MAX if size >= _THREADED_BYTES_MIN else 1
    step = _STEP_BYTES if threads > 1 else DISK_READ_BYTES
    hasher = blake3(max_threads=threads)
    buffer = memoryview(bytearray(min(step, max(size, 1))))
    offset = 0
    while count := os.preadv(handle, [buffer], offset):
        hasher.update(buffer[:count])
        offset += count
    return Digest(hasher.digest()), offset


Skip = Callable[[RelPath, bool], bool]
"""`skip(path, is_folder)`: True leaves the path, and everything below it, out."""


def walk(root: Root, under: RelPath, skip: Skip) -> Iterator[tuple[RelPath, Stat] | Problem | Unseen]:
    """Everything at or below `under` in tree order (`model.path.tree_key`); the root itself is not told.

    Follows no link; leaves out `.meerkat` at any depth and what `skip` names. Special files and names that cannot be
    shared come as `Problem`, folders that cannot be read as `Unseen`. Holds one folder's handle at a time, and the
    names of the folders above; a folder's stats are taken when it is reached.
    """
    if under:
        try:
            seen = root.lstat(under)
        except PathBlocked as error:
            yield Unseen(under, error.problem)
            return
        if seen is None or skip(under, seen.kind is Kind.FOLDER):
            return
        yield under, seen
        if seen.kind is not Kind.FOLDER:
            return
    depth = under.count("/") + 1 if under else 0
    stack = [_list_folder(root, under, depth, skip)]
    while stack:
        if not stack[-1]:
            stack.pop()
            continue
        item = stack[-1].pop()
        yield item
        if isinstance(item, tuple) and item[1].kind is Kind.FOLDER:
            stack.append(_list_folder(root, item[0], depth + len(stack), skip))


_Found = tuple[RelPath, Stat] | Problem | Unseen


def _list_folder(root: Root, path: RelPath, depth: int, skip: Skip) -> list[_Found]:
    """What is in one folder, the last name first (so that it can be popped)."""
    prefix = f"{path}/" if path else ""
    near_limit = depth + 1 > PATH_DEPTH_MAX or len(prefix.encode()) + NAME_BYTES_MAX > PATH_BYTES_MAX
    found: list[tuple[str, _Found]] = []
    try:
        handle = root.open_folder(path)
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    name = root.naming.listed(entry.name)
                    item = _list_entry(handle, entry, name, prefix, near_limit, depth, skip)
                    if item is not None:
                        found.append((name, item))
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in GONE:
            return [Unseen(path, changed(path).problem)]
        return [Unseen(path, blocked(path, error).problem)]
    # For names that are valid, the order of code points is the order of their UTF-8 bytes.
    found.sort(key=_first, reverse=True)
    return [item for _, item in found]


def _first(pair: tuple[str, _Found]) -> str:
    return pair[0]


def _list_entry(
    folder: int, entry: os.DirEntry[str], name: str, prefix: str, near_limit: bool, depth: int, skip: Skip
) -> _Found | None:
    if name[0] == "." and name.casefold() == MARKER:
        if name == MARKER:
            return None
        return Problem(prefix + shown(name), Reason.NAME_NOT_ALLOWED, f"{MARKER} belongs to the node", "rename it")
    path = RelPath(prefix + name)
    if not name.isascii() or near_limit:
        problem = _name_problem(path, name, depth)
        if problem is not None:
            return problem
    if skip(path, entry.is_dir(follow_symlinks=False)):
        return None
    try:
        found = entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False) and is_mount(folder, entry.name):
            return Unseen(path, mounted(path).problem)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Unseen(path, blocked(path, error).problem)
    seen = stat_of(found)
    return (path, seen) if seen is not None else special_problem(path, found.st_mode)


def _name_problem(path: str, name: str, depth: int) -> Problem | None:
    """Why a path cannot be shared; it holds the rules of `parse_path` for what may be out of bounds here."""
    try:
        check_name(name)
    except PathFault as fault:
        return Problem(shown(path), Reason.NAME_NOT_ALLOWED, str(fault), "rename it")
    if depth + 1 > PATH_DEPTH_MAX or len(path.encode()) > PATH_BYTES_MAX:
        return Problem(path, Reason.NAME_NOT_ALLOWED, "the path is too long or too deep", "move it further up")
    return None

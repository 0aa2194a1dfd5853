"""Bringing a past version back: its bytes are put at the path as if a person had written them there.

The bytes come from this folder, from the trash or from members, checked against their digest in any case; what they
replace goes to the trash, so a restore can be taken back. Other nodes get the restored version as any edit.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from meerkat.core.resolve import view as outlook
from meerkat.disk import commit
from meerkat.disk.commit import Placed
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import HISTORY_ROWS_MAX, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import RelPath, ancestors
from meerkat.model.problem import PathBlocked, Problem
from meerkat.model.version import Base, Content, Kind, Version
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.history import choose, from_trash, kept_by_content, version_name
from meerkat.node.outward import Outward
from meerkat.node.place import stage_name
from meerkat.node.ports import View
from meerkat.node.transfer import Transfer

T = TypeVar("T")

FOLDER = Version(Kind.FOLDER, mode=0o755)


class Restorer:
    """Puts versions back."""

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        claims: Claims,
        transfer: Transfer,
        outward: Outward,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._claims = claims
        self._transfer = transfer
        self._outward = outward
        self._threads = threads

    async def find(self, path: RelPath, wanted: str | None) -> Version:
        """The version that a person means by a path and the beginning of a version's name (None: the one before).

        Raises:
            Fault: not_found.
        """
        now, noted = await self._books.read(lambda view: (_shown(view, path), view.changes(path, HISTORY_ROWS_MAX)))
        version = choose(noted, now, wanted)
        if version is None:
            kept = await self._in_thread(lambda: list(self._trash.entries()))
            version = from_trash(path, kept, now, wanted)
        if version is None:
            what = f"no version {wanted} of" if wanted else "no earlier version of"
            raise Fault(
                "not_found", f"{what} {path!r} is known", hint=f"meerkat history '{path}'", exit_code=Exit.NOT_FOUND
            )
        return version

    async def restore(self, path: RelPath, wanted: str | None) -> tuple[Version, Content | None]:
        """Put a past version at the path; the version put there, and what it replaced.

        Raises:
            Fault: not_found, unreachable (nobody has the bytes), busy (the path changes all the time), blocked.
        """
        version = await self.find(path, wanted)
        return version, await self.put(path, version)

    async def put(self, path: RelPath, version: Version) -> Content | None:
        """Put the version at the path, as a person's write; what stands there goes to the trash.

        Returns:
            what that was; None when nothing was replaced.

        Raises:
            Fault: as `restore`.
        """
        await self._claims.until_free([path])
        claimed = self._claims.take([path])
        try:
            if not claimed:
                raise _busy(path)
            name, inode = await self._staged(path, version)
            replaced = await self._in_thread(partial(self._place, path, version, name, inode))
        except PathBlocked as error:
            raise _blocked(path, error.problem) from error
        finally:
            self._claims.free(claimed)
        await self._outward.scan(path)
        return replaced

    async def export(self, path: RelPath, wanted: str | None, target: Path) -> Version:
        """Write a past version to a new file outside the folder's care.

        Raises:
            Fault: as `find`; exists: the target is there already.
        """
        version = await self.find(path, wanted)
        if version.kind is not Kind.FILE:
            raise Fault(
                "not_a_file", f"that version of {path!r} is a {version.kind.name.lower()}", exit_code=Exit.USAGE
            )
        name, _ = await self._staged(path, version)
        try:
            await self._in_thread(partial(self._copy_out, name, version, target))
        except FileExistsError:
            raise Fault(
                "exists", f"{target} is there already", hint="name a new file", exit_code=Exit.REFUSED
            ) from None
        except OSError as error:
            raise Fault("not_writable", f"cannot write {target}", cause=error.strerror or str(error)) from error
        finally:
            await self._in_thread(partial(self._stage.drop, name))
        return version

    async def read(self, path: RelPath, version: Version, bytes_max: int) -> bytes:
        """The bytes of a version, for showing.

        Raises:
            Fault: too_large, or as `restore`.
        """
        if version.kind is not Kind.FILE or version.size > bytes_max:
            raise Fault("too_large", f"that version of {path!r} is not a file of at most {bytes_max} bytes")
        name, _ = await self._staged(path, version)
        try:
            return await self._in_thread(partial(self._stage.read, name, 0, version.size))
        finally:
            await self._in_thread(partial(self._stage.drop, name))

    # ---- the bytes

    async def _staged(self, path: RelPath, version: Version) -> tuple[str, int]:
        """The version in the stage, checked: from the trash, from this folder, or from members."""
        name = f"back.{stage_name(path, version)}"
        if version.kind is Kind.SYMLINK:
            return name, await self._in_thread(partial(self._stage.make_link, name, version))
        if version.kind is Kind.FOLDER:
            return name, await self._in_thread(partial(self._stage.make_folder, name, version))
        inode = await self._in_thread(partial(self._from_trash, name, version))
        if inode is None:
            inode = await self._in_thread(lambda: self._books.read_here(partial(self._from_folder, name, version)))
        if inode is None:
            inode = await self._from_members(path, name, version)
        return name, inode

    def _from_trash(self, name: str, version: Version) -> int | None:
        kept = kept_by_content(self._trash).get(version.content)
        if kept is None:
            return None
        try:
            self._trash.take(kept.id, self._stage, name)
            return self._stage.seal(name, version)
        except (KeyError, PathBlocked):
            self._stage.drop(name)  # written to since, or rotten: it is not what was asked for
            return None

    def _from_folder(self, name: str, version: Version, view: View) -> int | None:
        for path, base in view.locate_content(version.content):
            self._stage.prepare(name, version.size)
            if not version.size or self._stage.copy_from(name, 0, path, base, 0, version.size, version.digest):
                return self._stage.seal(name, version)
        return None

    async def _from_members(self, path: RelPath, name: str, version: Version) -> int:
        try:
            if version.size > SINGLE_CHUNK_BYTES_MAX:
                return await self._transfer.bulk(name, version, ())
            problems: list[Problem] = []
            inodes = await self._transfer.small([(name, version, ())], lambda _, problem: problems.append(problem))
            if problems:
                raise PathBlocked(problems[0])
            return inodes[name]
        except PathBlocked as error:
            raise Fault(
                "unreachable",
                f"version {version_name(version)} of {path!r} is neither here nor on a node that is online",
                cause=error.problem.text,
                hint="try again when more nodes are online: meerkat nodes",
                exit_code=Exit.UNREACHABLE,
            ) from error

    # ---- putting it there (in a worker thread)

    def _place(self, path: RelPath, version: Version, name: str, inode: int) -> Content | None:
        self._make_folders(path)
        self._stage.flush([name])
        for _ in range(3):
            there = look(self._root, path, None).base
            if there is not None and there.content == version.content:
                self._stage.drop(name)
                return None
            result = commit.place(self._root, self._stage, path, name, inode, there, version)
            if isinstance(result, Placed):
                if result.old is not None and there is not None:
                    self._keep(result.old, path, there)
                commit.sync_parents(self._root, [path])
                return there.content if there is not None and there.content.kind is not Kind.FOLDER else None
        raise _busy(path)

    def _make_folders(self, path: RelPath) -> None:
        for above in reversed(list(ancestors(path))):
            if self._root.lstat(above) is None:
                name = f"back.folder.{os.getpid()}"
                inode = self._stage.make_folder(name, FOLDER)
                commit.place(self._root, self._stage, above, name, inode, None, FOLDER)

    def _keep(self, name: str, path: RelPath, old: Base) -> None:
        if old.content.kind is Kind.FOLDER:
            self._stage.drop(name)
        else:
            self._trash.keep(self._stage, name, path, old.content, old.stat)

    def _copy_out(self, name: str, version: Version, target: Path) -> None:
        with open(target, "xb") as out, os.fdopen(self._open_staged(name), "rb") as source:
            shutil.copyfileobj(source, out, 1 << 20)
        os.utime(target, ns=(version.mtime_ns, version.mtime_ns))

    def _open_staged(self, name: str) -> int:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._stage.handle)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _shown(view: View, path: RelPath) -> Version | None:
    winner = outlook(view.siblings(path), view.has_living_below(path)).winner
    return winner.version if winner is not None else None


def _busy(path: RelPath) -> Fault:
    return Fault("file_busy", f"{path!r} is being changed all the time", hint="try again when it is quiet")


def _blocked(path: RelPath, problem: Problem) -> Fault:
    return Fault(problem.reason.value, f"{path!r} cannot be put there: {problem.text}", hint=problem.hint)

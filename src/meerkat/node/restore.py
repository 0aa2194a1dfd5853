"""Bringing a past version back: its bytes are put at the path as if a person had written them there.

The bytes come from this folder, from the trash or from members, checked against their digest in any case; what they
replace goes to the trash, so a restore can be taken back. Other nodes get the restored version as any edit.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from meerkat.core.resolve import view as outlook
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import HISTORY_ROWS_MAX, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import RelPath, tree_key
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Content, Kind, Version
from meerkat.node.books import Books
from meerkat.node.edit import Editor, Fits, Laid, anything, blocked_fault
from meerkat.node.history import choose, from_trash, version_name
from meerkat.node.ports import View
from meerkat.node.transfer import Transfer

T = TypeVar("T")


class Restorer:
    """Puts versions back."""

    def __init__(
        self,
        stage: Stage,
        trash: Trash,
        books: Books,
        transfer: Transfer,
        editor: Editor,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._stage = stage
        self._trash = trash
        self._books = books
        self._transfer = transfer
        self._editor = editor
        self._threads = threads

    async def shown(self, path: RelPath) -> Version | None:
        """What the pool shows at the path; None: nothing."""

        def look(view: View) -> Version | None:
            winner = outlook(view.siblings(path), view.has_living_below(path)).winner
            return winner.version if winner is not None else None

        return await self._books.read(look)

    async def find(self, path: RelPath, wanted: str | None) -> Version:
        """The version that a person means by a path and the beginning of a version's name (None: the one before).

        Raises:
            Fault: not_found.
        """
        now = await self.shown(path)
        noted = await self._books.read(lambda view: view.changes(path, HISTORY_ROWS_MAX))
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

    async def put(self, path: RelPath, version: Version, fits: Fits = anything) -> Content | None:
        """Put the version at the path, as a person's write; what stands there goes to the trash.

        Args:
            fits: whether what stands there may be replaced.

        Returns:
            what that was; None when nothing was replaced.

        Raises:
            Fault: as `restore` and `Editor.put`.
        """
        return await self._editor.put(await self._laid(path, version), fits)

    async def put_new(self, wanted: Sequence[tuple[RelPath, Version]]) -> dict[RelPath, Fault]:
        """Put versions where nothing stands; nobody is told until a scan. As few at once as a commit holds.

        Returns:
            those that could not be put there, and why.
        """
        failed: dict[RelPath, Fault] = {}
        laid: list[Laid] = []
        small: dict[str, tuple[RelPath, Version]] = {}
        for path, version in wanted:
            if version.kind is Kind.FILE and version.size <= SINGLE_CHUNK_BYTES_MAX:
                small[self._editor.name_for(path, version)] = path, version
                continue
            try:
                laid.append(await self._laid(path, version))
            except Fault as fault:
                failed[path] = fault

        def on_blocked(name: str, problem: Problem) -> None:
            path, version = small[name]
            failed[path] = _not_had(path, version, problem)

        inodes = await self._transfer.small([(name, version, ()) for name, (_, version) in small.items()], on_blocked)
        laid += [Laid(*small[name], name, inode) for name, inode in inodes.items()]
        laid.sort(key=lambda each: tree_key(each.path))
        return failed | await self._editor.put_new(laid)

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
        name = (await self._laid(path, version)).name
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
        name = (await self._laid(path, version)).name
        try:
            return await self._in_thread(partial(self._stage.read, name, 0, version.size))
        finally:
            await self._in_thread(partial(self._stage.drop, name))

    # ---- the bytes

    async def _laid(self, path: RelPath, version: Version) -> Laid:
        """The version in the stage, checked: from the trash, from this folder, or from members.

        Raises:
            Fault: unreachable, or what the disk says.
        """
        name = self._editor.name_for(path, version)
        try:
            return Laid(path, version, name, await self._staged(path, version, name))
        except PathBlocked as error:
            raise blocked_fault(path, error.problem) from error

    async def _staged(self, path: RelPath, version: Version, name: str) -> int:
        if version.kind is Kind.SYMLINK:
            return await self._in_thread(partial(self._stage.make_link, name, version))
        if version.kind is Kind.FOLDER:
            return await self._in_thread(partial(self._stage.make_folder, name, version))
        inode = await self._in_thread(partial(self._from_trash, name, version))
        if inode is None:
            inode = await self._in_thread(lambda: self._books.read_here(partial(self._from_folder, name, version)))
        return await self._from_members(path, name, version) if inode is None else inode

    def _from_trash(self, name: str, version: Version) -> int | None:
        kept = self._trash.find(version.digest)
        if kept is None:
            return None
        try:
            self._trash.take(kept, self._stage, name)
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
            await self._in_thread(partial(self._stage.drop, name))
            raise _not_had(path, version, error.problem) from error

    def _copy_out(self, name: str, version: Version, target: Path) -> None:
        with open(target, "xb") as out, os.fdopen(self._open_staged(name), "rb") as source:
            shutil.copyfileobj(source, out, 1 << 20)
        os.utime(target, ns=(version.mtime_ns, version.mtime_ns))

    def _open_staged(self, name: str) -> int:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._stage.handle)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _not_had(path: RelPath, version: Version, problem: Problem) -> Fault:
    if problem.reason is not Reason.NO_SOURCE_ONLINE:
        return blocked_fault(path, problem)
    return Fault(
        "unreachable",
        f"version {version_name(version)} of {path!r} is neither here nor on a node that is online",
        cause=problem.text,
        hint="try again when more nodes are online: meerkat nodes",
        exit_code=Exit.UNREACHABLE,
    )

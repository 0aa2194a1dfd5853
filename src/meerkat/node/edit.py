"""Edits that this node makes at a person's word (restore, resolve): the disk is changed as by their own hand.

Like a person's doing, an edit needs no intent: whatever a crash leaves of it is found by the next scan, and what an
exchange had brought out by then goes from the stage to the trash at the next start. Invariant: nothing that stood in
the tree is dropped; it goes to the trash, back to its path, or beside it. Each staged thing has a name of its own, so
no later edit takes what lies there for its own.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from msgspec import Struct

from meerkat.disk import commit
from meerkat.disk.commit import Displaced, Occupied, Placed, Raced
from meerkat.disk.root import Root
from meerkat.disk.scan import look
from meerkat.disk.stage import Stage
from meerkat.model.fault import Exit, Fault
from meerkat.model.limits import EDIT_TRIES_MAX
from meerkat.model.path import RelPath, ancestors
from meerkat.model.problem import PathBlocked, Problem
from meerkat.model.version import Content, Kind, Version
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.outward import Outward
from meerkat.node.place import Placer
from meerkat.node.stage_names import stage_name

T = TypeVar("T")

FOLDER = Version(Kind.FOLDER, mode=0o755)

Fits = Callable[[Content | None], bool]
"""Whether what stands at a path (None: nothing) may be replaced."""


class Laid(Struct, frozen=True):
    """A thing in the stage that is to go to a path."""

    path: RelPath
    version: Version
    name: str
    inode: int


class Editor:
    """Puts staged things at paths, and takes things away."""

    def __init__(
        self,
        root: Root,
        stage: Stage,
        books: Books,
        claims: Claims,
        placer: Placer,
        outward: Outward,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._root = root
        self._stage = stage
        self._books = books
        self._claims = claims
        self._placer = placer
        self._outward = outward
        self._threads = threads
        self._counter = itertools.count()

    def name_for(self, path: RelPath, version: Version) -> str:
        """A stage name that nothing else has had in this run."""
        return f"back.{next(self._counter)}.{stage_name(path, version)}"

    # ---- putting things there

    async def put(self, laid: Laid, fits: Fits) -> Content | None:
        """Put a staged thing at its path, as a person's write; what stands there goes to the trash.

        Args:
            fits: asked of what stands there.

        Returns:
            what was replaced; None: nothing, or nothing that can be had back (an empty folder).

        Raises:
            Fault: changed (what stands there does not fit), not_empty, not_a_folder, file_busy, or what the disk says;
                nothing was replaced then.
        """
        claimed: list[RelPath] = []
        try:
            await self._claims.until_free([laid.path])
            claimed = self._claims.take([laid.path])
            if not claimed:
                raise _busy(laid.path)
            replaced = await self._in_thread(partial(self._put_one, laid, fits))
        finally:
            self._claims.free(claimed)
            await self._in_thread(partial(self._drop, laid))
        await self._outward.scan(laid.path)
        return replaced

    async def put_new(self, batch: Sequence[Laid]) -> dict[RelPath, Fault]:
        """Put things where nothing stands, those above first, made durable together; nobody is told until a scan.

        Returns:
            those that were not put there, and why.
        """
        paths = [each.path for each in batch]
        await self._claims.until_free(paths)
        claimed = self._claims.take(paths)
        try:
            return await self._in_thread(partial(self._put_new, batch, set(claimed)))
        finally:
            self._claims.free(claimed)

    def _put_new(self, batch: Sequence[Laid], claimed: set[RelPath]) -> dict[RelPath, Fault]:
        failed: dict[RelPath, Fault] = {}
        done: list[RelPath] = []
        try:
            self._stage.flush([each.name for each in batch])
            for each in batch:
                try:
                    if each.path not in claimed:
                        raise _busy(each.path)
                    self._place(each, lambda content: content is None)
                    done.append(each.path)
                except Fault as fault:
                    failed[each.path] = fault
            commit.sync_parents(self._root, done)
        except PathBlocked as error:  # what stands there is found by the scan all the same
            failed.update({each.path: blocked_fault(each.path, error.problem) for each in batch})
        for each in batch:
            self._drop(each)
        return failed

    def _put_one(self, laid: Laid, fits: Fits) -> Content | None:
        try:
            self._stage.flush([laid.name])
            replaced = self._place(laid, fits)
            commit.sync_parents(self._root, [laid.path])
        except PathBlocked as error:
            raise blocked_fault(laid.path, error.problem) from error
        return replaced

    def _place(self, laid: Laid, fits: Fits) -> Content | None:
        """In a worker thread."""
        path, version = laid.path, laid.version
        try:
            self._make_folders(path)
            for _ in range(EDIT_TRIES_MAX):
                there = look(self._root, path, None).base
                content = None if there is None else there.content
                if content == version.content:
                    return None
                if not fits(content):
                    raise _changed(path, content)
                result = commit.place(self._root, self._stage, path, laid.name, laid.inode, there, version)
                match result:
                    case Placed(_, old):
                        if old is None or there is None:
                            return None
                        self._placer.discard(old, path, there.content, there.stat)
                        return None if there.content.kind is Kind.FOLDER else content
                    case Occupied():
                        raise _not_empty(path)
                    case Displaced(name):
                        self._placer.rescue(name, path)
                        break
                    case Raced(exposed=True):  # somebody may have opened it while it stood there
                        self._placer.discard(laid.name, path, version.content)
                        break
                    case Raced():
                        continue
        except PathBlocked as error:
            raise blocked_fault(path, error.problem) from error
        raise _busy(path)

    def _make_folders(self, path: RelPath) -> None:
        for above in reversed(list(ancestors(path))):
            seen = self._root.lstat(above)
            if seen is None:
                name = self.name_for(above, FOLDER)
                inode = self._stage.make_folder(name, FOLDER)
                commit.place(self._root, self._stage, above, name, inode, None, FOLDER)
            elif seen.kind is not Kind.FOLDER:
                raise Fault(
                    "not_a_folder",
                    f"{above!r}, which {path!r} was in, is no folder now",
                    hint=f"bring the folder back first (meerkat restore '{above}'), or write to a file with --to",
                    exit_code=Exit.REFUSED,
                )

    def _drop(self, laid: Laid) -> None:
        """What was laid in the stage and is still there was not needed. Anything else under its name is not ours."""
        try:
            if self._stage.inode(laid.name) == laid.inode:
                self._stage.drop(laid.name)
        except PathBlocked:
            pass  # the next start does it

    # ---- bits

    async def set_bits(self, wanted: Sequence[tuple[RelPath, int]]) -> None:
        """Give these folders their bits, where they can have them; contents before their folders."""

        def work() -> None:
            for path, mode in wanted:
                try:
                    there = look(self._root, path, None).base
                    if there is not None and there.content.kind is Kind.FOLDER:
                        commit.set_metadata(self._root, path, there, Version(Kind.FOLDER, mode=mode))
                except PathBlocked:
                    continue

        await self._in_thread(work)

    # ---- taking things away

    async def remove(self, path: RelPath, content: Content) -> bool:
        """Take away what stands at the path, as a person would; its bytes go to the trash.

        Returns:
            False: something else stands there by now, or nothing did; it is as it was.
        """
        await self._claims.until_free([path])
        claimed = self._claims.take([path])
        try:
            removed = bool(claimed) and await self._in_thread(partial(self._remove, path, content))
        except PathBlocked as error:
            raise blocked_fault(path, error.problem) from error
        finally:
            self._claims.free(claimed)
        await self._outward.record([path])
        return removed

    def _remove(self, path: RelPath, content: Content) -> bool:
        there = look(self._root, path, None).base
        if there is None or there.content != content or content.kind is Kind.FOLDER:
            return False
        name = f"gone.{next(self._counter)}.{content.ident.hex()[:24]}"
        result = commit.remove(self._root, self._stage, path, name, there)
        match result:
            case Placed():
                self._placer.discard(name, path, there.content, there.stat)
                commit.sync_parents(self._root, [path])
                return True
            case Displaced(left):
                self._placer.rescue(left, path)
        return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def anything(content: Content | None) -> bool:
    """Whatever stands there may be replaced."""
    return True


def blocked_fault(path: RelPath, problem: Problem) -> Fault:
    return Fault(problem.reason.value, f"{path!r} cannot be put there: {problem.text}", hint=problem.hint)


def _busy(path: RelPath) -> Fault:
    return Fault("file_busy", f"{path!r} is being changed all the time", hint="try again when it is quiet")


def _changed(path: RelPath, content: Content | None) -> Fault:
    if content is None:
        return Fault("changed", f"{path!r} has gone meanwhile", hint="look again, and say what is to be")
    return Fault("changed", f"something else stands at {path!r} by now", hint="look at it, and say what is to be")


def _not_empty(path: RelPath) -> Fault:
    return Fault(
        "not_empty",
        f"{path!r} is a folder that holds something, so no file can take its place",
        hint="move or delete the folder first (that can be undone, too), or write to a file with --to",
        exit_code=Exit.REFUSED,
    )

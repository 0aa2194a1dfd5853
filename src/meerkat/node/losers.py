"""Losers of a conflict: their bytes get a name of their own before anything else happens to them (MERGE rule R7).

Invariant: a loser's dots go only in a transaction that comes after its bytes stand, durable, at the copy's name (or
after that name was seen to live with the same content). No intent is needed: a crash in between leaves a file that the
next scan finds, with the very name and content that the copy is to have.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from meerkat.core.merge import is_kept
from meerkat.core.plan import KeepLoser
from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.commit import Placed
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.model.limits import COPY_NAMES_TRIED_MAX, SINGLE_CHUNK_BYTES_MAX
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked, Problem
from meerkat.model.version import Base, Kind, Siblings, Version
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.ledger import Job
from meerkat.node.place_words import Outcome, blocked_at
from meerkat.node.ports import View
from meerkat.node.stage_names import stage_name
from meerkat.node.transfer import Transfer

T = TypeVar("T")


class Losers:
    """Keeps losers, one path at a time."""

    def __init__(
        self,
        root: Root,
        stage: Stage,
        books: Books,
        claims: Claims,
        transfer: Transfer,
        threads: ThreadPoolExecutor,
        look_again: Callable[[Sequence[RelPath]], None],
    ) -> None:
        self._root = root
        self._stage = stage
        self._books = books
        self._claims = claims
        self._transfer = transfer
        self._threads = threads
        self._look_again = look_again

    async def keep(self, jobs: Sequence[Job]) -> list[Outcome]:
        """R7: the loser's bytes to the copy's name first, durable; then its dots go, in one transaction."""
        (job,) = jobs
        assert isinstance(job.step, KeepLoser)
        loser, copy = job.step.loser, job.step.copy
        if job.step.holder and job.base is not None:
            shown = await self._in_thread(partial(self._root.lstat, job.path))
            if shown != job.base.stat:  # written since, or not looked at yet: what a person did comes first
                self._look_again([job.path])
                return [Outcome(job.path, later=True)]
        for _ in range(COPY_NAMES_TRIED_MAX):
            siblings, base = await self._books.read(partial(_at, copy))
            seen = await self._in_thread(partial(self._root.lstat, copy))
            if seen != (None if base is None else base.stat) or copy in self._claims or copy in self._claims.cut_off:
                self._look_again([copy])
                return [Outcome(job.path, later=True)]
            if is_kept(siblings, loser.content) or base is None or base.content == loser.content:
                break
            copy = copy_path(copy, loser.content)  # taken by other content
        else:
            return [Outcome(job.path, later=True)]
        claimed = self._claims.take([copy])
        if not claimed:
            return [Outcome(job.path, later=True)]
        try:
            copy_base = None
            if not is_kept(siblings, loser.content) and base is None:
                copy_base = await self._put_copy(job, loser.version, copy)
                if copy_base is None:
                    return [Outcome(job.path, later=True)]
            kept = await self._books.write(lambda tx: ledger.keep_loser(tx, job.path, loser.content, copy, copy_base))
        except PathBlocked as error:
            return [blocked_at(job.path, error.problem)]
        finally:
            self._claims.free(claimed)
        return [Outcome(job.path, later=not kept)]

    async def _put_copy(self, job: Job, version: Version, copy: RelPath) -> Base | None:
        name = stage_name(copy, version)
        inode = await self._stage_copy(job, version, name)
        await self._in_thread(partial(self._stage.flush, [name]))
        result = await self._in_thread(partial(commit.place, self._root, self._stage, copy, name, inode, None, version))
        if not isinstance(result, Placed):
            self._look_again([copy])
            return None
        await self._in_thread(partial(commit.sync_parents, self._root, [copy]))
        return result.base

    async def _stage_copy(self, job: Job, version: Version, name: str) -> int:
        """The loser's bytes in the stage: from this disk when it shows them, else from whoever has them."""
        if version.kind is Kind.SYMLINK:
            return await self._in_thread(partial(self._stage.make_link, name, version))
        if version.size <= SINGLE_CHUNK_BYTES_MAX:
            problems: list[Problem] = []
            inodes = await self._transfer.small([(name, version, ())], lambda _, problem: problems.append(problem))
            if problems:
                raise PathBlocked(problems[0])
            return inodes[name]
        base = job.base
        if base is not None and base.content == version.content:

            def copy() -> int | None:
                self._stage.prepare(name, version.size)
                whole = self._stage.copy_from(name, 0, job.path, base, 0, version.size, version.digest)
                return self._stage.seal(name, version) if whole else None

            inode = await self._in_thread(copy)
            if inode is not None:
                return inode
        return await self._transfer.bulk(name, version, ())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _at(path: RelPath, view: View) -> tuple[Siblings, Base | None]:
    return view.siblings(path), view.base(path)

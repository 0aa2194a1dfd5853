"""The steps of inward, one method each: stage, make durable, intend, exchange, record (MERGE rules R7-R9).

Every method takes jobs whose paths are claimed and says how each ended. The order inside a commit is what makes any
crash harmless: staged bytes are flushed before an intent speaks of them, intents are durable before the exchange, what
came out is in the trash and the renames are durable before the index records the new base and strikes the intent.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from meerkat.core.plan import Place, Remove, Retouch
from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.commit import Displaced, Occupied, Placed, Raced
from meerkat.disk.naming import Naming
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.ids import NodeId
from meerkat.model.limits import COPY_NAMES_TRIED_MAX
from meerkat.model.path import RelPath, join, parent
from meerkat.model.problem import PathBlocked, Problem, Reason
from meerkat.model.version import Base, Content, Kind, Stat, Version
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.heal import After, drop_leftovers, heal_at, run_after
from meerkat.node.hub import Hub
from meerkat.node.ledger import Job
from meerkat.node.place_words import Done, Outcome, Staged, blocked_at, is_back, let_out, take_back
from meerkat.node.ports import Intent, Tx
from meerkat.node.relocate import Relocator
from meerkat.node.stage_names import made_name, path_tag, stage_name
from meerkat.node.transfer import Transfer, likely_holders

log = logging.getLogger("meerkat.place")

T = TypeVar("T")


class Placer:
    """Carries out steps on the disk."""

    def __init__(
        self,
        root: Root,
        stage: Stage,
        trash: Trash,
        books: Books,
        claims: Claims,
        hub: Hub,
        transfer: Transfer,
        threads: ThreadPoolExecutor,
        look_again: Callable[[Sequence[RelPath]], None],
        ignored: Callable[[RelPath], bool],
    ) -> None:
        self._root = root
        self._stage = stage
        self._trash = trash
        self._books = books
        self._claims = claims
        self._hub = hub
        self._transfer = transfer
        self._threads = threads
        self._look_again = look_again
        self._ignored = ignored
        self.relocator = Relocator(root, books, claims, hub, threads, look_again, ignored)
        self._counter = itertools.count()
        self._exposed: dict[RelPath, Staged] = {}  # what is to be discarded, and could not be yet
        # by stage name: where it stood, and what was replaced there; None: it is a person's
        self._left: dict[str, tuple[RelPath, Content | None, Stat | None]] = {}

    @property
    def naming(self) -> Naming:
        """What the disk does with names."""
        return self._root.naming

    # ---- putting things down

    async def folders(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Make folders, those above first."""
        return await self._make(jobs, "folder", self._stage.make_folder)

    async def small(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Put down links and files of one chunk, made durable together."""
        links = [job for job in jobs if _version(job).kind is Kind.SYMLINK]
        files = [job for job in jobs if _version(job).kind is Kind.FILE]
        outcomes = await self._make(links, "link", self._stage.make_link) if links else []
        if not files:
            return outcomes
        by_name = {stage_name(job.path, _version(job)): job for job in files}

        def on_blocked(name: str, problem: Problem) -> None:
            outcomes.append(blocked_at(by_name[name].path, problem))

        wanted = [(name, _version(job), _hints(job)) for name, job in by_name.items()]
        replaced = {name: (job.path, job.base) for name, job in by_name.items() if job.base is not None}
        inodes = await self._transfer.small(wanted, on_blocked, replaced)
        staged = [
            Staged(by_name[name].path, _version(by_name[name]), by_name[name].base, name, inode)
            for name, inode in inodes.items()
        ]
        return outcomes + await self._commit(staged)

    async def bulk(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Put down one large file."""
        (job,) = jobs
        version = _version(job)
        name = stage_name(job.path, version)
        try:
            replaced = None if job.base is None else (job.path, job.base)
            inode = await self._transfer.bulk(name, version, _hints(job), replaced)
        except PathBlocked as error:
            return [blocked_at(job.path, error.problem)]
        return await self._commit([Staged(job.path, version, job.base, name, inode)])

    async def _make(self, jobs: Sequence[Job], prefix: str, make: Callable[[str, Version], int]) -> list[Outcome]:
        outcomes: list[Outcome] = []

        def make_all() -> list[Staged]:
            made = []
            for job in jobs:
                name = made_name(prefix, job.path)
                try:
                    made.append(Staged(job.path, _version(job), job.base, name, make(name, _version(job))))
                except PathBlocked as error:
                    outcomes.append(blocked_at(job.path, error.problem))
            return made

        staged = await self._in_thread(make_all)
        return outcomes + await self._commit(staged)

    async def _commit(self, staged: Sequence[Staged]) -> list[Outcome]:
        """Flush, intend, exchange, record: for all of a group at once."""
        if not staged:
            return []
        try:
            await self._in_thread(lambda: self._stage.flush([each.name for each in staged]))
        except PathBlocked as error:
            return [blocked_at(each.path, error.problem) for each in staged]
        ready = await self._books.write(lambda tx: self._intend(tx, staged))
        ready_paths = {each.path for each in ready}
        outcomes = [Outcome(each.path, later=True) for each in staged if each.path not in ready_paths]
        done = await self._in_thread(partial(self._place_all, ready))
        placed_paths = {path for path, _ in done.placed}
        outcomes += await self._record(ready_paths, done)
        if (
            done.exposed
        ):  # only now: a missing staged thing beside an intent would say that the exchange has happened (R9)
            left = await self._in_thread(partial(self._discard_all, done.exposed))
            self._claims.cut_off.update(left)
            outcomes = [each for each in outcomes if each.path not in left]
            outcomes += [blocked_at(path, problem) for path, problem in left.items()]
        for each in ready:
            if each.path in placed_paths:
                kind = each.version.kind.name.lower()
                self._hub.tell("file.applied", path=each.path, kind=kind, size=each.version.size)
        return outcomes

    async def _record(
        self, intended: Set[RelPath], done: Done, also: Callable[[Tx], None] = lambda tx: None
    ) -> list[Outcome]:
        """Note what stands now, and strike the intents of what has not happened. Where neither is sure, it is ended as
        after a crash: now, or else later. Returns how each ended."""

        after: list[After] = []

        def record(tx: Tx) -> dict[RelPath, Problem]:
            ledger.record_placed(tx, done.placed)
            for path in intended - {path for path, _ in done.placed} - done.unsure:
                tx.clear_intent(path)
            also(tx)
            if not done.unsure:
                return {}
            return heal_at(self._root, self._stage, self._trash, tx, done.unsure, after)

        left = await self._books.write(record)
        await self._end(after)
        self._claims.cut_off.update(left)
        ended = [outcome for outcome in done.outcomes if outcome.path not in left]
        return ended + [blocked_at(path, problem) for path, problem in left.items()]

    async def end_cut_off(self, paths: Iterable[RelPath]) -> list[Outcome]:
        """Try again to end what the disk refused half-way, at those of the paths that nobody works on; how it went."""
        claimed = self._claims.take(path for path in paths if path in self._claims.cut_off)
        if not claimed:
            return []
        try:
            exposed = [self._exposed.pop(path) for path in claimed if path in self._exposed]
            left = await self._in_thread(partial(self._discard_all, exposed))
            after: list[After] = []
            here = self._root, self._stage, self._trash
            left |= await self._books.write(lambda tx: heal_at(*here, tx, claimed, after))
            await self._end(after)
            self._claims.cut_off -= set(claimed) - left.keys()
        finally:
            self._claims.free(claimed)
        self._look_again([path for path in claimed if path not in left])
        return [blocked_at(path, problem) for path, problem in left.items()]

    async def _end(self, after: Sequence[After]) -> None:
        if after:
            await self._in_thread(partial(run_after, after))

    def _intend(self, tx: Tx, staged: Sequence[Staged]) -> list[Staged]:
        """Those that the pool still wants there; an intent for each."""
        ready = []
        tx.look_ahead(each.path for each in staged)
        for each in staged:
            step, base = ledger.step_at(tx, each.path)
            if isinstance(step, Place) and step.version == each.version and base == each.base:
                tx.put_intent(Intent(each.path, each.version, each.out, each.inode, each.base))
                ready.append(each)
        return ready

    def _place_all(self, ready: Sequence[Staged]) -> Done:
        """In a worker thread: the exchanges, then the folders' flush."""
        done = Done()
        for each in ready:
            begun = False
            try:
                begun = let_out(self._stage, each, self.rescue)
                result = self._place_one(each) if begun else Raced("the staged thing is gone")
                if isinstance(result, Placed):
                    if result.old is not None and each.base is not None:
                        self.discard(result.old, each.path, each.base.content, each.base.stat)
                    done.placed.append((each.path, result.base))
                elif self._stage.has_aside(each.out):
                    done.unsure.add(each.path)
                    result = Raced("the disk refused on the way")
                elif isinstance(result, Raced) and result.exposed:
                    done.exposed.append(each)
                elif not isinstance(result, Displaced):  # else what lies there is a person's
                    take_back(self._stage, each)
                done.outcomes.append(self._outcome(each.path, result))
            except PathBlocked as error:
                if begun and not is_back(self._stage, each):
                    done.unsure.add(each.path)
                done.outcomes.append(blocked_at(each.path, error.problem))
        self._make_durable(done)
        return done

    def _place_one(self, each: Staged) -> Placed | Raced | Occupied | Displaced:
        return commit.place(self._root, self._stage, each.path, each.out, each.inode, each.base, each.version)

    def _make_durable(self, done: Done) -> None:
        """When the disk cannot say that the renames are durable, nothing is recorded: then it is not sure what a start
        after a power loss would find, and the intents stay until it is."""
        try:
            commit.sync_parents(self._root, [path for path, _ in done.placed])
        except PathBlocked as error:
            log.error("renames could not be made durable: %s", error)
            done.unsure.update(path for path, _ in done.placed)
            self._look_again([path for path, _ in done.placed])
            done.placed.clear()

    def _outcome(self, path: RelPath, result: Placed | Raced | Occupied | Displaced) -> Outcome:
        match result:
            case Placed():
                return Outcome(path)
            case Raced(why):
                log.info("%s: %s", path, why)
                # What keeps it away may be the folder above, of which nobody may have heard.
                self._look_again([each for each in (path, parent(path)) if each])
                return Outcome(path, later=True)
            case Occupied(names):
                return self._occupied(path, names)
            case Displaced(name):
                self.rescue(name, path)
                return Outcome(path, later=True)

    def _discard_all(self, exposed: Sequence[Staged]) -> dict[RelPath, Problem]:
        """In a worker thread. What the disk does not even let out of a download's name is tried again, and nothing is
        staged there before: it would be used a second time."""
        left: dict[RelPath, Problem] = {}
        for each in exposed:
            try:
                self.discard(each.out, each.path, each.version.content)
            except PathBlocked as error:
                left[each.path] = error.problem
                self._exposed[each.path] = each
        return left

    def discard(self, name: str, path: RelPath, content: Content, known: Stat | None = None) -> None:
        """What was replaced or removed on the pool's word goes to the trash; an empty folder just goes. The exchange
        has happened, so trouble here must not stop its being recorded: then the thing keeps a stage name of its own,
        from which it is put away later, or at the next start.

        Args:
            known: as in `Trash.keep`.
        """
        try:
            if content.kind is not Kind.FOLDER:
                self._trash.keep(self._stage, name, path, content, known)
                return
            try:
                self._stage.drop(name)
            except PathBlocked:  # somebody has put something into it at the last moment
                self.rescue(name, path)
        except PathBlocked as error:
            aside = f"old.{path_tag(path)}.{next(self._counter)}"
            log.error("%s: the old version stays in the stage as %s: %s", path, aside, error)
            self._stage.rename(name, aside)
            self._left[aside] = (path, content, known)

    def put_away(self) -> None:
        """In a worker thread: try again what could not be put away and was left in the stage."""
        for name, (path, content, known) in list(self._left.items()):
            if self._left.pop(name, None) is None:
                continue
            if content is None:
                self.rescue(name, path)
            else:
                self.discard(name, path, content, known)

    def rescue(self, name: str, path: RelPath) -> None:
        """A person's bytes lie under a stage name: back to the path if it is free, else beside it, else the trash; and
        where nothing of that can be had, under a name that no download will ever take."""
        try:
            content = self._stage.content(name)
            if content is None:
                return
            target = path
            for _ in range(COPY_NAMES_TRIED_MAX):
                if commit.put_back(self._root, self._stage, name, target):
                    self._look_again([path, target])
                    return
                target = copy_path(target, content)
            self._trash.keep(self._stage, name, path, content)
            self._look_again([path])
        except PathBlocked as error:
            aside = f"old.{path_tag(path)}.{next(self._counter)}"
            log.error("%s: what was written there just now stays in the stage as %s: %s", path, aside, error)
            self._stage.rename(name, aside)
            self._left[aside] = (path, None, None)

    async def tidy(self) -> bool:
        """Drop what was staged and overtaken, once nothing waits any more; False: something does."""
        return await self._in_thread(lambda: self._books.read_here(partial(drop_leftovers, self._stage)))

    # ---- metadata and removals

    async def retouch(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Set bits and times of what is there already."""
        outcomes: list[Outcome] = []
        placed: list[tuple[RelPath, Base, Version]] = []

        def touch_all() -> None:
            for job in jobs:
                assert isinstance(job.step, Retouch)
                assert job.base is not None
                try:
                    result = commit.set_metadata(self._root, job.path, job.base, job.step.version)
                except PathBlocked as error:
                    outcomes.append(blocked_at(job.path, error.problem))
                    continue
                if isinstance(result, Raced):
                    self._look_again([job.path])
                    outcomes.append(Outcome(job.path, later=True))
                else:
                    placed.append((job.path, result, job.step.version))
                    outcomes.append(Outcome(job.path))

        await self._in_thread(touch_all)
        await self._books.write(lambda tx: ledger.record_retouched(tx, placed))
        return outcomes

    async def remove(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Take things away, in the order given (contents before their folders); files and links go to the trash."""
        names = {job.path: f"out.{path_tag(job.path)}.{next(self._counter)}" for job in jobs}

        def intend(tx: Tx) -> list[Job]:
            ready = []
            tx.look_ahead(job.path for job in jobs)
            for job in jobs:
                step, base = ledger.step_at(tx, job.path)
                if isinstance(step, Remove) and base == job.base and base is not None:
                    if base.content.kind is not Kind.FOLDER:
                        tx.put_intent(Intent(job.path, None, names[job.path], 0, base))
                    ready.append(job)
            return ready

        ready = await self._books.write(intend)
        done = await self._in_thread(partial(self._remove_all, ready, names))

        def let_stay(tx: Tx) -> None:
            for outcome in done.outcomes:
                if outcome.problem is not None and outcome.problem.reason is Reason.IGNORED_THERE:
                    ledger.let_stay(tx, outcome.path)

        outcomes = await self._record({job.path for job in ready}, done, let_stay)
        for path, _ in done.placed:  # in the order of the removals
            self._hub.tell("file.applied", path=path, kind="deleted", size=0)
        return outcomes

    def _remove_all(self, ready: Sequence[Job], names: dict[RelPath, str]) -> Done:
        done = Done()
        for job in ready:
            assert job.base is not None
            try:
                result: Placed | Raced | Occupied | Displaced
                if job.base.content.kind is Kind.FOLDER:
                    result = commit.remove_folder(self._root, job.path, job.base)
                else:
                    result = commit.remove(self._root, self._stage, job.path, names[job.path], job.base)
                    if isinstance(result, Placed):
                        self.discard(names[job.path], job.path, job.base.content, job.base.stat)
                outcome = self._outcome(job.path, result)
            except PathBlocked as error:
                outcome = blocked_at(job.path, error.problem)
                if not self._stage.is_untouched(names[job.path], None):
                    done.unsure.add(job.path)
            done.outcomes.append(outcome)
            if outcome.problem is None and not outcome.later:
                done.placed.append((job.path, None))
        self._make_durable(done)
        return done

    def _occupied(self, path: RelPath, names: Sequence[str]) -> Outcome:
        """The folder there still holds something, so it stays for now; a person is told what for."""
        kept = [name for name in names if self._ignored(join(path, name))]
        if kept and len(kept) == len(names):
            text = f"deleted or replaced elsewhere, kept here: it still holds {kept[0]!r}, which is ignored"
            hint = "delete the folder here if nothing in it is needed"
            return blocked_at(path, Problem(path, Reason.IGNORED_THERE, text, hint))
        self._look_again([join(path, name) for name in names])
        return Outcome(path, later=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _version(job: Job) -> Version:
    assert isinstance(job.step, Place)
    return job.step.version


def _hints(job: Job) -> tuple[NodeId, ...]:
    assert isinstance(job.step, Place)
    return likely_holders(job.step.dots)

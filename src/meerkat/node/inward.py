"""Inward: from the index to the disk. Pending paths become steps, steps become commits.

    pending -> plan -> obtain (stage) -> make durable -> intents -> place -> record

One pass goes forwards through the pending paths (folders come before their contents), handing files to groups that
run beside each other, then backwards for what is to be removed (contents before their folders). A path is held
(claimed) from the decision to the record. Nothing is remembered about work: after any end, the plan is derived again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from functools import partial

from meerkat.core.patience import Delay, Delays, hasten, overcome, put_off
from meerkat.core.plan import KeepLoser, Place, Remove, Retouch, Settled
from meerkat.model.limits import (
    BULK_FILES_MAX,
    COMMIT_BATCH_MAX,
    FRESH_JOBS_MAX,
    FRESH_PATHS_MAX,
    PLAN_BATCH_MAX,
    REMOVALS_IN_A_PASS_MAX,
    SINGLE_CHUNK_BYTES_MAX,
    SMALL_GROUP_BYTES_MAX,
    SMALL_GROUPS_MAX,
    STEP_IN_S,
)
from meerkat.model.path import ROOT, RelPath, ancestors, is_below, tree_key
from meerkat.model.problem import Reason
from meerkat.model.version import Kind
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.claims import Claims
from meerkat.node.hub import Hub
from meerkat.node.ledger import Job
from meerkat.node.losers import Losers
from meerkat.node.place import Placer
from meerkat.node.place_words import Outcome
from meerkat.node.ports import View
from meerkat.node.tasks import Tasks, until
from meerkat.store.errors import IndexDamaged

log = logging.getLogger("meerkat.inward")


class Inward:
    """The half of the engine that puts down what the pool has.

    Attributes:
        idle: set while no step is under way and none is due.
    """

    def __init__(
        self,
        books: Books,
        claims: Claims,
        hub: Hub,
        placer: Placer,
        losers: Losers,
        tasks: Tasks,
        ignored: Callable[[RelPath], bool],
    ) -> None:
        self._books = books
        self._claims = claims
        self._hub = hub
        self._placer = placer
        self._losers = losers
        self._tasks = tasks
        self._ignored = ignored
        self._wake = asyncio.Event()
        self._delays: Delays = {}
        self._small_slots = asyncio.Semaphore(SMALL_GROUPS_MAX)
        self._bulk_running = 0
        self._small_running = 0
        self._fresh: list[RelPath] = []
        self._planned: list[Job] = []
        self._wanted: set[bytes] = set()
        self._handed_out: set[RelPath] = set()  # to tasks that have begun, or are about to
        self._passed_over: set[RelPath] = set()
        self._littered = True  # what a life before this one has staged may never be asked for again
        self._clashing: set[RelPath] = set()
        self._troubled: set[RelPath] = set()  # have been given trouble by a step, and not been dealt with since
        self.working = False
        claims.on_freed.append(self._freed)

    def fresh(self, paths: Sequence[RelPath]) -> None:
        """Just merged: dealt with before whatever has been pending for longer. A flood is not: the pass meets all of
        it in the right order anyway, and half a flood would come before its folders."""
        if len(self._fresh) + len(paths) <= FRESH_PATHS_MAX:
            self._fresh.extend(paths)
        else:
            self._fresh.clear()
        self.looked_at(paths, set(paths))

    def merged(self, paths: Sequence[RelPath], jobs: Sequence[Job]) -> None:
        """As `fresh`, with the steps that were derived in the merge itself. Where they are too many (or none are given)
        the pass meets them all; what a step says is looked at again before anything is placed."""
        if len(self._planned) + len(jobs) <= FRESH_JOBS_MAX:
            self._planned.extend(jobs)
        else:
            self._planned.clear()
        self.looked_at(paths, set(paths))

    def looked_at(self, paths: Iterable[RelPath], changed: Set[RelPath]) -> None:
        """These were looked at, or heard of; `changed`: where something is new."""
        if not self._delays:
            return
        if hasten(self._delays, paths, changed, self._now()):
            self._wake.set()
        self._unclash(changed)

    def wake(self) -> None:
        """Something may be pending (called after every transaction, cheap)."""
        self._wake.set()

    def _freed(self, paths: set[RelPath]) -> None:
        """What was met while somebody else had it is met again: nothing need have been written that would wake us."""
        met = self._passed_over & paths
        self._passed_over -= met
        if met or not self._delays.keys().isdisjoint(paths):
            self._wake.set()

    def sources_changed(self) -> None:
        """A member came or has more now: what waited for a source is due."""
        for path in list(self._delays):
            problem = self._hub.problem(path)
            if problem is not None and problem.reason is Reason.NO_SOURCE_ONLINE:
                del self._delays[path]
                self._wake.set()

    @property
    def busy(self) -> bool:
        return self.working or bool(self._bulk_running or self._small_running)

    async def run(self) -> None:
        while True:
            await self._sleep()
            self._wake.clear()
            if self._books.recovering:
                continue
            self.working = True
            try:
                await self._end_cut_off(self._claims.cut_off)
                moved = True
                while moved:
                    began = self._now()
                    moved = await self._pass()
                self._forget_delays(began)
                await self._heal_settled()
                if self._littered and not self._delays and not self._bulk_running and not self._small_running:
                    self._littered = not await self._placer.tidy()
            finally:
                self.working = False

    def _forget_delays(self, began: float) -> None:
        """Those that were due when the pass began were met in it, or their paths are not pending any more. What has
        become due since may have been passed over: it is met in the next pass, which its delay brings about."""
        for path in [path for path, delay in self._delays.items() if delay.until <= began and self._is_idle(path)]:
            del self._delays[path]

    async def _end_cut_off(self, paths: Iterable[RelPath]) -> None:
        """What the disk refused half-way is ended first, where that is due."""
        now = self._now()
        due = [path for path in paths if path in self._claims.cut_off and self._is_due(path, now)]
        if due:
            self._note(await self._placer.end_cut_off(due))
            for path in due:
                if path not in self._claims.cut_off:
                    self._delays.pop(path, None)

    async def _heal_settled(self) -> None:
        """A path that ceased to be pending while a step was at it may have got its trouble after that: no pass meets it
        any more, so nobody else would ever take the trouble away."""
        over = [path for path in self._troubled if path not in self._delays and self._is_idle(path)][:PLAN_BATCH_MAX]
        if over:
            jobs = await self._books.read(partial(ledger.jobs_at, paths=over))
            self._clear([job.path for job in jobs if isinstance(job.step, Settled)])

    async def _sleep(self) -> None:
        now = self._now()
        # A path that is being worked on wakes us when that ends; its old delay says nothing.
        waits = [delay.until for path, delay in self._delays.items() if self._is_idle(path)]
        timeout = max(0.0, min(waits) - now) if waits else None
        await until(self._wake, timeout)

    def _is_idle(self, path: RelPath) -> bool:
        """Nobody works on the path, and it has not been handed to a task that is about to."""
        return path not in self._claims and path not in self._handed_out

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # ---- one pass

    async def _pass(self) -> bool:
        """Walk the pending paths forwards, then what of them is to go backwards. True when steps were taken that may
        have made others possible."""
        if not self._books.behind and not self._planned and not self._fresh:
            return False
        generation = self._books.generation
        moved = False
        handed_out: set[RelPath] = set()  # in this pass: to stage them twice would be to throw one away
        removals: list[RelPath] = []
        after: RelPath | None = ROOT
        while after is not None:
            fresh = [job for job in await self._fresh_jobs() if job.path not in handed_out]
            handed_out.update(job.path for job in fresh)
            moved |= await self._forward(self._ready(fresh), urgent=len(fresh) <= FRESH_PATHS_MAX)
            batch, after = await self._jobs(after)
            moved |= await self._forward(self._ready([job for job in batch if job.path not in handed_out]))
            room = REMOVALS_IN_A_PASS_MAX - len(removals)  # what finds none is met in the next pass
            removals += [job.path for job in batch if isinstance(job.step, Remove)][:room]
        while removals:
            going = removals[-PLAN_BATCH_MAX:]
            del removals[-PLAN_BATCH_MAX:]
            going.reverse()
            jobs = await self._books.read(partial(ledger.jobs_at, paths=going))
            moved |= await self._backward(self._ready(jobs))
        return moved and self._books.generation != generation

    async def _jobs(self, after: RelPath) -> tuple[list[Job], RelPath | None]:
        """The next pending paths that may be dealt with now, with their steps, and where to go on (None: nowhere).

        Most of what is pending during a large transfer is under way already, and is not planned anew at each turn."""
        now = self._now()

        def look(view: View) -> tuple[list[Job], set[RelPath], list[RelPath]]:
            page = view.pending(after, PLAN_BATCH_MAX)
            taken = {path for path in page if path in self._claims}
            others = [path for path in page if path not in taken and path not in self._handed_out]
            free = [path for path in others if self._is_due(path, now)]
            return ledger.jobs_at(view, free), taken, page

        jobs, taken, page = await self._books.read(look)
        self._passed_over.update(taken)
        if any(path not in self._claims for path in taken):
            self._wake.set()  # freed since: nobody else would tell
        return jobs, page[-1] if len(page) == PLAN_BATCH_MAX else None

    def _is_due(self, path: RelPath, now: float) -> bool:
        """From any thread: it does not wait."""
        delay = self._delays.get(path)
        return delay is None or delay.until <= now

    async def _fresh_jobs(self) -> list[Job]:
        paths = list(dict.fromkeys(self._fresh))
        self._fresh.clear()
        # Of several steps for one path the last one knows most; each answer comes in the order of the tree.
        planned = list({job.path: job for job in self._planned}.values())
        self._planned.clear()
        paths += [job.path for job in planned if _may_be_here(job)]  # may have been moved here since: read anew
        planned = [job for job in planned if not _may_be_here(job)]
        if not paths:
            return planned
        return planned + await self._books.read(lambda view: ledger.jobs_at(view, sorted(paths, key=tree_key)))

    def _ready(self, batch: Sequence[Job]) -> list[Job]:
        now = self._now()
        ready = []
        for job in batch:
            if job.path in self._claims:
                self._passed_over.add(job.path)
            elif job.path not in self._delays or self._delays[job.path].until <= now:
                ready.append(job)
        return ready

    async def _forward(self, batch: list[Job], *, urgent: bool = False) -> bool:
        if self._placer.naming.folds:
            batch = self._first_of_each_key(batch)
        settled = [job.path for job in batch if isinstance(job.step, Settled) or self._ignored(job.path)]
        if settled:
            await self._books.write(lambda tx: ledger.settle(tx, settled, drop=self._ignored))
            self._clear(settled)
        small: list[Job] = []
        folders: list[Job] = []
        weight = 0
        moved = False
        sources = await self._placer.relocator.sources([job.path for job in batch if _may_be_here(job)])
        relocated = ROOT
        for job in batch:
            if self._ignored(job.path) or (relocated and is_below(job.path, relocated)):
                continue
            if job.path in sources:
                moved |= await self._flush_folders(folders)
                if await self._placer.relocator.move(sources[job.path], job.path):
                    moved, relocated = True, job.path
                    continue
            match job.step:
                case Place(version) if version.kind is Kind.FOLDER:
                    folders.append(job)
                    continue
                case Place(version) if version.kind is Kind.FILE and version.size > SINGLE_CHUNK_BYTES_MAX:
                    moved |= await self._flush_folders(folders)
                    self._start_bulk(job)
                case Place(version):
                    small.append(job)
                    weight += version.size
                case Retouch():
                    moved |= await self._held([job], self._placer.retouch)
                case KeepLoser(holder=True):
                    moved |= await self._held([job], self._losers.keep)
                case KeepLoser():
                    self._step_in_later(job)
                case Remove() | Settled():
                    pass
            if len(small) >= COMMIT_BATCH_MAX or weight >= SMALL_GROUP_BYTES_MAX:
                moved |= await self._flush_folders(folders)
                await self._start_small(small, urgent=urgent)
                small, weight = [], 0
        moved |= await self._flush_folders(folders)
        if small:
            await self._start_small(small, urgent=urgent)
        return moved

    def _first_of_each_key(self, batch: list[Job]) -> list[Job]:
        """On a disk that takes names for one another: of several new things that it would, the first in tree order is
        put down, on every such disk the same. The others are tried afterwards, and told why they wait."""
        firsts: dict[str, Job] = {}
        chosen = []
        for job in batch:
            if isinstance(job.step, Place) and job.base is None:
                key = self._placer.naming.key(job.path)
                if firsts.setdefault(key, job) is not job:
                    self._note([Outcome(job.path, later=True)])
                    continue
            chosen.append(job)
        return chosen

    async def _backward(self, batch: list[Job]) -> bool:
        removals = [
            job
            for job in batch
            if isinstance(job.step, Remove)
            and job.base is not None
            and job.base.content.ident not in self._wanted
            and not self._ignored(job.path)
        ]
        if not removals:
            return False
        return await self._held(removals, self._placer.remove)

    # ---- steps under way

    async def _flush_folders(self, folders: list[Job]) -> bool:
        if not folders:
            return False
        batch = list(folders)
        folders.clear()
        return await self._held(batch, self._placer.folders)

    async def _held(self, batch: list[Job], work: Callable[[list[Job]], Awaitable[list[Outcome]]]) -> bool:
        """Run a step with its paths claimed; those that somebody else has taken meanwhile are met again later."""
        await self._end_cut_off([job.path for job in batch])
        claimed = set(self._claims.take(job.path for job in batch if job.path not in self._claims.cut_off))
        mine = [job for job in batch if job.path in claimed]
        self._passed_over.update(job.path for job in batch if job.path not in claimed)
        try:
            return self._note(await work(mine)) if mine else False
        except IndexDamaged:
            raise
        except Exception:
            # The driver's edge: a bug in a step costs these paths a wait, and not the node its life.
            log.exception("a step failed for %s and %d more", mine[0].path, len(mine) - 1)
            self._note([Outcome(job.path, later=True) for job in mine])
            return False
        finally:
            self._claims.free(claimed)

    def _beside(
        self,
        name: str,
        batch: list[Job],
        work: Callable[[list[Job]], Awaitable[list[Outcome]]],
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """As `_held`, as a task beside the pass."""
        contents = self._want(batch)
        paths = {job.path for job in batch}
        self._handed_out |= paths

        async def run() -> None:
            try:
                await self._held(batch, work)
            finally:
                self._wanted -= contents
                self._handed_out -= paths
                at_end()
                self._wake.set()

        self._tasks.spawn(name, run())

    async def _start_small(self, batch: list[Job], *, urgent: bool) -> None:
        """A group of small files and links; waits while too many groups run, unless it is urgent."""
        if not urgent:
            await self._small_slots.acquire()
        self._small_running += 1

        def at_end() -> None:
            self._small_running -= 1
            if not urgent:
                self._small_slots.release()

        self._beside(f"place {len(batch)} files", batch, self._placer.small, at_end)

    def _start_bulk(self, job: Job) -> None:
        """One large file, if a place is free; else it stays pending and is met again."""
        if self._bulk_running >= BULK_FILES_MAX:
            return
        self._bulk_running += 1

        def at_end() -> None:
            self._bulk_running -= 1

        self._beside(f"place {job.path}", [job], self._placer.bulk, at_end)

    def _want(self, batch: list[Job]) -> set[bytes]:
        """Contents being put down: nothing that holds them is removed meanwhile, it may be where they come from."""
        wanted = {bytes(job.step.version.digest) for job in batch if isinstance(job.step, Place)}
        contents = wanted - self._wanted - {b""}
        self._wanted |= contents
        return contents

    def _step_in_later(self, job: Job) -> None:
        """A loser that is not on this disk: its holders act first; this node only when nobody did for a while."""
        delay = self._delays.get(job.path)
        if delay is None:
            self._delays[job.path] = Delay(self._now() + STEP_IN_S, STEP_IN_S)
            return
        del self._delays[job.path]
        self._beside(f"step in {job.path}", [job], self._losers.keep)

    def _note(self, outcomes: list[Outcome]) -> bool:
        """Remember what has to wait; True when something was done."""
        done = False
        dealt_with = [outcome.path for outcome in outcomes if outcome.problem is None and not outcome.later]
        self._clear(dealt_with)
        for outcome in outcomes:
            if outcome.problem is None and not outcome.later:
                done = True
                continue
            self._littered = True  # what was staged for it may never be asked for again
            put_off(self._delays, outcome.path, self._now())
            # What keeps us from looking at what is there keeps us from replacing it as well.
            problem = outcome.problem or self._hub.problem(outcome.path)
            if problem is not None and problem.reason is Reason.CASE_CLASH:
                self._clashing.add(outcome.path)
            if problem is not None:
                self._troubled.add(outcome.path)
                self._hub.trouble(problem, inward=True)
        return done

    def _unclash(self, paths: Iterable[RelPath]) -> None:
        """Something has happened at the paths: what their names kept away may have room now."""
        if not self._clashing:
            return
        key = self._placer.naming.key
        keys = {key(path) for path in paths}
        for each in list(self._clashing):
            if not keys.isdisjoint(map(key, (each, *ancestors(each)))):
                self._clashing.discard(each)
                self._delays.pop(each, None)
                self._wake.set()

    def _clear(self, paths: Sequence[RelPath]) -> None:
        """The paths are dealt with; what waited for one of them (a folder, or its name) need not wait longer."""
        self._clashing.difference_update(paths)
        self._troubled.difference_update(paths)
        self._unclash(paths)
        if self._delays:
            overcome(self._delays, paths)
        for path in paths:
            if self._hub.has_problem(path):
                self._hub.healed(path)


def _may_be_here(job: Job) -> bool:
    """It comes to a free place and is worth the question whether it stands elsewhere on this disk."""
    version = job.step.version if isinstance(job.step, Place) and job.base is None else None
    return version is not None and (version.kind is Kind.FOLDER or version.size > SINGLE_CHUNK_BYTES_MAX)

"""One replica without a network: a real folder, a real index, the engine's real decisions, driven step by step.

What `node/` does with coroutines is done here by plain calls, in the same order, so that a test can put a person, a
crash or another replica between any two steps. Invariant: no decision is taken here; every one comes from `ledger`,
`heal` and `opening`, and every change of the folder from `disk`.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from blake3 import blake3

from meerkat.core.compare import differing
from meerkat.core.merge import is_kept, tombstones
from meerkat.core.plan import KeepLoser, Place, Remove, Retouch, Settled
from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.commit import Displaced, Placed, Raced
from meerkat.disk.root import Root
from meerkat.disk.scan import look, walk
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author, dominates
from meerkat.model.ids import Digest, NodeId
from meerkat.model.limits import COPY_NAMES_TRIED_MAX
from meerkat.model.path import ROOT, RelPath, ancestors, is_below
from meerkat.model.version import Base, Content, Entry, Kind, Siblings, Stat, Version
from meerkat.node import ledger
from meerkat.node.home import Home, open_home
from meerkat.node.ledger import Job
from meerkat.node.opening import Opened, close_index, open_index
from meerkat.node.ports import Intent
from meerkat.node.stage_names import stage_name
from meerkat.store.index import Index

Between = Callable[[str], None]
Bytes = Callable[[Digest], bytes | None]

FIRST_TIME_NS = 1_600_000_000_000_000_000


class Crash(BaseException):
    """The process dies here. Not an `Exception`: nothing may handle it."""


def quiet(step: str) -> None:
    """Nobody comes in between."""


def text_content(text: str) -> Content:
    return Content(Kind.FILE, blake3(text.encode()).digest())


@dataclass(slots=True)
class Answer:
    """What a member answers to "what does my context not cover?". `sent` of its entries have arrived."""

    source: "Replica"
    full: bool
    entries: list[Entry]
    context: dict[Author, int]
    floor: dict[Author, int]
    number: int = 0
    sent: int = 0


@dataclass(slots=True)
class Clock:
    """File times that are new each time and the same in each run."""

    ticks: int = 0

    def next_ns(self) -> int:
        self.ticks += 1
        return FIRST_TIME_NS + self.ticks * 1_000_003


@dataclass(slots=True)
class Replica:
    """A node's folder and what its engine would do. `fetch` gives the bytes of a digest, or None: nobody has them."""

    name: str
    folder: Path
    fetch: Bytes
    clock: Clock
    home: Home = field(init=False)
    root: Root = field(init=False)
    stage: Stage = field(init=False)
    trash: Trash = field(init=False)
    opened: Opened = field(init=False)
    running: bool = False
    under_way: Answer | None = None
    recovering: bool = False
    _numbers: int = 0

    def __post_init__(self) -> None:
        (self.folder / ".meerkat").mkdir(parents=True)
        shutil.copy(_empty_index(), self.folder / ".meerkat" / "index.db")  # quicker than making one each time
        self.start()

    # ---- life

    @property
    def node(self) -> NodeId:
        return NodeId((self.name * 32)[:32])

    @property
    def index(self) -> Index:
        return self.opened.index

    def start(self) -> None:
        self.home = open_home(self.folder)
        self.root = Root(self.folder)
        self.stage = Stage(self.root)
        self.trash = Trash(self.root)
        self.opened = open_index(self.home, self.node, self.root, self.stage, self.trash)
        self.running = True
        self.under_way = None
        with self.index.read() as view:
            self.recovering = bool(view.meta("recovering"))

    def stop(self, *, clean: bool = True) -> None:
        """A clean stop, or (as far as a test can) a sudden end."""
        if not self.running:
            return
        if clean:
            close_index(self.opened, self.node)
        self.index.close()
        for held in (self.stage, self.trash, self.root, self.home):
            held.close()
        self.running = False

    def crash(self) -> None:
        self.stop(clean=False)
        self.start()

    def lose_index(self) -> None:
        """The index is gone at the next start."""
        self.stop(clean=False)
        self.start_without_index()

    def start_without_index(self) -> None:
        for each in self.home.path.glob("index.db*"):
            each.unlink()
        self.start()

    def back_up(self, to: Path) -> None:
        self.stop()
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to, symlinks=True)
        self.start()

    def restore(self, backup: Path, *, index_only: bool) -> None:
        """Put back what `back_up` kept: the index alone, or the whole folder."""
        self.stop(clean=False)
        if index_only:
            for each in self.home.path.glob("index.db*"):
                each.unlink()
            shutil.copy2(backup / ".meerkat" / "index.db", self.home.index)
        else:
            shutil.rmtree(self.folder)
            shutil.copytree(backup, self.folder, symlinks=True)
        self.start()

    # ---- people

    def write(self, path: str, text: str, *, in_place: bool = False) -> None:
        """As an editor saves: by a rename, or in place."""
        target = self.folder / path
        moment = self.clock.next_ns()
        part = target if in_place and target.exists() else self.folder / ".meerkat" / "being-saved"
        part.write_text(text)
        os.utime(part, ns=(moment, moment))
        if part != target:
            part.rename(target)

    def delete(self, path: str) -> None:
        target = self.folder / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def make_folder(self, path: str) -> None:
        (self.folder / path).mkdir(exist_ok=True)

    def tree(self) -> dict[str, str | None]:
        """What stands in the folder: texts, and None for folders."""
        found: dict[str, str | None] = {}
        for at, folders, files in os.walk(self.folder):
            if at == str(self.folder):
                folders.remove(".meerkat")
            for name in folders:
                found[os.path.relpath(os.path.join(at, name), self.folder)] = None
            for name in files:
                with open(os.path.join(at, name)) as file:
                    found[os.path.relpath(os.path.join(at, name), self.folder)] = file.read()
        return found

    def trashed(self) -> set[str]:
        """The texts in the trash."""
        kept = (self.folder / ".meerkat" / "trash").glob("*/*")
        return {each.read_text() for each in kept if each.suffix != ".json"}

    # ---- what the index says

    def view(self, path: str) -> Siblings:
        with self.index.read() as view:
            return view.siblings(RelPath(path))

    def context(self) -> dict[Author, int]:
        with self.index.read() as view:
            return view.context()

    def living(self) -> dict[RelPath, Siblings]:
        """The living siblings of each path that has any."""
        with self.index.read() as view:
            found = {
                entry.path: {dot: version for dot, version in entry.siblings.items() if version.living}
                for entry in view.entries()
            }
        return {path: siblings for path, siblings in found.items() if siblings}

    def paths(self) -> set[RelPath]:
        """Every path that the index has heard of."""
        with self.index.read() as view:
            return {entry.path for entry in view.entries()} | {path for path, _ in view.bases()}

    # ---- outward

    def scan(self, chosen: Collection[str] | None = None, *, adopting: bool = False) -> list[RelPath]:
        """Take in what differs from the bases (only at and below the chosen paths, and above them what is new)."""
        if self.recovering and not adopting:
            return []
        with self.index.read() as view:
            found = walk(self.root, ROOT, lambda path, is_folder: False)
            due = [path for path, _ in differing(_seen(found), view.bases())]
            if chosen is not None:
                due = [path for path in due if _is_chosen(path, chosen)]
            known = [(path, view.base(path)) for path in due]
        sights = [look(self.root, path, base) for path, base in known]
        sights = [sight for sight, (_, base) in zip(sights, known, strict=True) if sight.base or base]
        with self.index.write() as tx:
            return ledger.record(tx, sights, adopting=adopting)

    def recover(self) -> None:
        """The end of a recovery: adopt what the disk holds (R11, R12)."""
        self.scan(adopting=True)
        self.settle_in()

    def settle_in(self) -> None:
        """From now on this index is as good as any."""
        with self.index.write() as tx:
            tx.put_meta("recovering", b"")
        self.recovering = False

    # ---- pulls

    def ask(self, source: "Replica") -> Answer | None:
        """The answer, whole and of one instant; None when the member cannot answer."""
        if source.recovering:
            return None
        context = self.context()
        with source.index.read() as view:
            full = self.recovering or not dominates(context, view.floor())
            entries = list(view.entries() if full else view.entries_beyond(context))
            return Answer(source, full, entries, view.context(), view.floor())

    def take(self, answer: Answer) -> None:
        """Merge a whole answer, and adopt when that was what a recovery waited for."""
        recovering = self.recovering
        merge = ledger.merge_everything if answer.full else ledger.merge_entries
        with self.index.write() as tx:
            entries = tx.aside(answer.number) if answer.number else iter(answer.entries)
            merge(tx, entries, answer.context, answer.floor, dots_allowed=answer.full or not recovering)
            tx.drop_aside(None)
        if recovering and answer.full:
            self.recover()

    def pull(self, source: "Replica") -> None:
        self.interrupt()
        answer = self.ask(source)
        if answer is not None:
            self.take(answer)

    def pull_part(self, source: "Replica", count: int = 1) -> None:
        """Let the next entries of a long pull arrive; the last of them end it."""
        if self.under_way is None or self.under_way.source is not source:
            self.interrupt()
            self.under_way = self.ask(source)
            if self.under_way is None:
                return
            self._numbers += 1
            self.under_way.number = self._numbers
        answer = self.under_way
        part = answer.entries[answer.sent : answer.sent + count]
        with self.index.write() as tx:
            tx.put_aside(answer.number, tuple(part))
        answer.sent += len(part)
        if answer.sent >= len(answer.entries):
            self.under_way = None
            self.take(answer)

    def interrupt(self) -> None:
        if self.under_way is None:
            return
        self.under_way = None
        with self.index.write() as tx:
            tx.drop_aside(None)

    def forget(self, chosen: Callable[[], bool]) -> None:
        """Forget those tombstones that are chosen."""
        with self.index.write() as tx:
            for entry in list(tx.entries()):
                gone = {dot for dot in tombstones(entry.siblings) if chosen()}
                if gone:
                    tx.put_siblings(entry.path, {d: v for d, v in entry.siblings.items() if d not in gone})
                    for author, seq in gone:
                        tx.join_context({}, {author: seq})

    # ---- inward

    def settle(self, between: Between = quiet) -> None:
        """One pass over what is pending: forwards, then backwards for what goes."""
        if self.recovering:
            return
        for path in self.pending():
            self.step(path, between, removing=False)
        for path in reversed(self.pending()):
            self.step(path, between, placing=False)

    def pending(self) -> list[RelPath]:
        with self.index.read() as view:
            return view.pending(ROOT, 1000)

    def step(
        self,
        path: str,
        between: Between = quiet,
        *,
        removing: bool = True,
        placing: bool = True,
        stepping_in: bool = False,
    ) -> None:
        """The next step at one path, if there is one."""
        if self.recovering:
            return
        with self.index.read() as view:
            job = ledger.job_at(view, RelPath(path))
        match job.step:
            case Settled():
                with self.index.write() as tx:
                    ledger.settle(tx, [job.path], drop=lambda path: False)
            case Place() if placing:
                self._place(job, job.step.version, between)
            case Retouch() if placing:
                self._retouch(job, job.step.version, between)
            case KeepLoser(holder=holder) if placing and (holder or stepping_in):
                self._keep_loser(job, job.step, between)
            case Remove() if removing:
                self._remove(job, between)
            case _:
                pass

    def _place(self, job: Job, version: Version, between: Between) -> None:
        staged = self._staged(job.path, version)
        if staged is None:
            return
        name, inode = staged
        with self.index.write() as tx:
            step, base = ledger.step_at(tx, job.path)
            if not isinstance(step, Place) or step.version != version or base != job.base:
                return
            tx.put_intent(Intent(job.path, version, name, inode, base))
        between("intended")
        result = commit.place(self.root, self.stage, job.path, name, inode, job.base, version, between)
        between("done")
        match result:
            case Placed(base, old):
                if old is not None and job.base is not None:
                    self._discard(old, job.path, job.base.content)
                between("discarded")
                self._recorded(job.path, base)
                return
            case Raced(_, exposed):
                if exposed:
                    self._discard(name, job.path, version.content)
            case Displaced(displaced):
                self._rescue(displaced, job.path)
        self._struck(job.path)

    def _remove(self, job: Job, between: Between) -> None:
        base = job.base
        assert base is not None
        if base.content.kind is Kind.FOLDER:
            if isinstance(commit.remove_folder(self.root, job.path, base), Placed):
                self._recorded(job.path, None)
            return
        name = f"out.{_tag(job.path)}.{self.clock.ticks}"
        with self.index.write() as tx:
            if ledger.step_at(tx, job.path) != (Remove(), base):
                return
            tx.put_intent(Intent(job.path, None, name, 0, base))
        between("intended")
        result = commit.remove(self.root, self.stage, job.path, name, base, between)
        between("done")
        match result:
            case Placed():
                self._discard(name, job.path, base.content)
                between("discarded")
                self._recorded(job.path, None)
                return
            case Displaced(displaced):
                self._rescue(displaced, job.path)
            case Raced():
                pass
        self._struck(job.path)

    def _retouch(self, job: Job, version: Version, between: Between) -> None:
        assert job.base is not None
        result = commit.set_metadata(self.root, job.path, job.base, version, between)
        if not isinstance(result, Raced):
            with self.index.write() as tx:
                tx.put_base(job.path, result)
                tx.clear_pending(job.path)

    def _keep_loser(self, job: Job, step: KeepLoser, between: Between) -> None:
        """As `node.losers` does it."""
        loser, copy = step.loser, step.copy
        if step.holder and self.root.lstat(job.path) != (job.base and job.base.stat):
            return
        for _ in range(COPY_NAMES_TRIED_MAX):
            with self.index.read() as view:
                siblings, base = view.siblings(copy), view.base(copy)
            if self.root.lstat(copy) != (base and base.stat):
                return
            if is_kept(siblings, loser.content) or base is None or base.content == loser.content:
                break
            copy = copy_path(copy, loser.content)
        else:
            return
        copy_base = None
        if not is_kept(siblings, loser.content) and base is None:
            staged = self._staged(copy, loser.version)
            if staged is None:
                return
            between("intended")
            result = commit.place(self.root, self.stage, copy, *staged, None, loser.version, between)
            between("done")
            if not isinstance(result, Placed):
                return
            copy_base = result.base
        with self.index.write() as tx:
            ledger.keep_loser(tx, job.path, loser.content, copy, copy_base)

    def _staged(self, path: RelPath, version: Version) -> tuple[str, int] | None:
        match version.kind:
            case Kind.FOLDER:
                name = f"folder.{_tag(path)}"
                return name, self.stage.make_folder(name, version)
            case Kind.SYMLINK:
                name = f"link.{_tag(path)}"
                return name, self.stage.make_link(name, version)
            case _:
                data = self.fetch(version.digest)
                if data is None:
                    return None
                name = stage_name(path, version)
                return name, self.stage.write_small(name, data, version)

    def _discard(self, name: str, path: RelPath, content: Content) -> None:
        if content.kind is Kind.FOLDER:
            self.stage.drop(name)
        else:
            self.trash.keep(self.stage, name, path, content)

    def _rescue(self, name: str, path: RelPath) -> None:
        content = self.stage.content(name)
        if content is not None and not any(
            commit.put_back(self.root, self.stage, name, target) for target in (path, copy_path(path, content))
        ):
            self.trash.keep(self.stage, name, path, content)

    def _recorded(self, path: RelPath, base: Base | None) -> None:
        with self.index.write() as tx:
            ledger.record_placed(tx, [(path, base)])

    def _struck(self, path: RelPath) -> None:
        with self.index.write() as tx:
            tx.clear_intent(path)

    def content_here(self, digest: Digest) -> bytes | None:
        """The bytes of that digest from a file of this folder, else from the trash."""
        with self.index.read() as view:
            for path, _ in view.locate_content(Content(Kind.FILE, digest)):
                data = _bytes_at(self.folder / path)
                if data is not None and blake3(data).digest() == digest:
                    return data
        for each in (self.folder / ".meerkat" / "trash").glob("*/*"):
            data = _bytes_at(each)
            if data is not None and blake3(data).digest() == digest:
                return data
        return None


@cache
def _empty_index() -> Path:
    """An index that nobody has ever started on."""
    place = Path(tempfile.mkdtemp(prefix="meerkat-index-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    Index.open(place / "index.db", durable=False).close()
    return place / "index.db"


def _tag(path: str) -> str:
    return blake3(path.encode()).hexdigest()[:12]


def _bytes_at(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _seen(found: Iterator[object]) -> Iterator[tuple[RelPath, Stat]]:
    for each in found:
        assert isinstance(each, tuple), each
        yield each


def _is_chosen(path: RelPath, chosen: Collection[str]) -> bool:
    return any(path == each or is_below(path, RelPath(each)) or path in ancestors(RelPath(each)) for each in chosen)

"""Several replicas without a network, the people at them, and the oracle that knows what they may expect.

The oracle is G1, G2 and G4 over what people did: every text that was written is remembered with where, and whether a
person who saw it wrote over it or deleted it. It looks at folders and trash, and besides at the dots: what is left in
the index must be exactly what no known write has replaced.
"""

import os
import random
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from replicas import Between, Clock, Replica, quiet, text_content

from meerkat.core.compare import Change
from meerkat.core.merge import dots_of
from meerkat.core.plan import KeepLoser
from meerkat.core.resolve import view as outlook_of
from meerkat.model.dot import Dot, dominates, knows
from meerkat.model.ids import Digest
from meerkat.model.path import RelPath, parent, tree_key
from meerkat.model.version import FOLDER, Content, Kind, Version
from meerkat.node import ledger
from meerkat.node.ports import Tx

COPY_MARK = ".conflict-"
ROUNDS_MAX = 25


class Violation(AssertionError):
    """What people were promised does not hold."""


@dataclass(frozen=True, slots=True)
class Write:
    """One dot as it was given: at which path, what, and what it replaced."""

    path: RelPath
    content: Content
    replaced: frozenset[Dot]


@dataclass(slots=True)
class Diary:
    """What people did, as far as it tells what must still be there."""

    writes: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """text -> (path, replica) where it was written."""
    times: Counter[str] = field(default_factory=Counter)
    """how often each text was written."""
    seen_over: set[str] = field(default_factory=set)
    """texts that a person who saw them wrote over or deleted."""
    removed: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """(path, text) -> replicas at which a person took it away."""
    deleted_paths: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    """texts that a restored backup took back."""
    lossy: bool = False
    """An index was lost or restored, so some order may be forgotten."""
    restored: bool = False
    forgetting: bool = False


class Pool:
    """Replicas "a", "b", ... in folders of their own, all members from the start."""

    def __init__(self, count: int, *, place: Path | None = None) -> None:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.place = place or Path(tempfile.mkdtemp(prefix="meerkat-pool-", dir=memory))
        self.patches = pytest.MonkeyPatch()
        self.patches.setenv("XDG_STATE_HOME", str(self.place / "state"))
        self.diary = Diary()
        self.dots: dict[Dot, Write] = {}
        self.copies: Counter[RelPath] = Counter()
        self.gone: set[str] = set()
        self._spy()
        clock = Clock()
        self.all = {name: Replica(name, self.place / name, self.bytes_of, clock) for name in "abcdefgh"[:count]}
        for replica in self.all.values():
            replica.settle_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for replica in self.all.values():
            replica.stop(clean=False)
        self.patches.undo()
        shutil.rmtree(self.place, ignore_errors=True)

    def _spy(self) -> None:
        """Note each dot that is given, and that none is given twice."""
        keep_loser = ledger.keep_loser

        def noting(write: Callable[..., Dot]) -> Callable[..., Dot]:
            def noted(tx: Tx, path: RelPath, change: Change, *rest: object) -> Dot:
                dot = write(tx, path, change, *rest)
                if dot in self.dots:
                    raise Violation(f"{dot} was given twice")
                self.dots[dot] = Write(path, change.version.content, change.replaces)
                return dot

            return noted

        def counting(*args: object) -> bool:
            kept: bool = keep_loser(*args)  # type: ignore[arg-type]
            if kept:
                self.copies[args[3]] += 1  # type: ignore[index]
            return kept

        self.patches.setattr(ledger, "write", noting(ledger.write))
        self.patches.setattr(ledger, "write_new", noting(ledger.write_new))
        self.patches.setattr(ledger, "keep_loser", counting)

    def __getitem__(self, name: str) -> Replica:
        return self.all[name]

    @property
    def present(self) -> list[Replica]:
        return [replica for replica in self.all.values() if replica.name not in self.gone]

    def bytes_of(self, digest: Digest) -> bytes | None:
        """What a transfer would find: in a folder of any member; else in somebody's trash, where a person looks."""
        for replica in self.present:
            data = replica.content_here(digest) if replica.running else None
            if data is not None:
                return data
        return None

    # ---- people, with the diary

    def write(self, name: str, path: str, text: str, *, in_place: bool = False) -> None:
        replica = self.all[name]
        target = replica.folder / path
        if not target.parent.is_dir() or target.is_dir():
            return
        old = target.read_text() if target.is_file() else None
        if old == text:
            return
        if old is not None:
            self._took_away(replica, path, old)
        diary = self.diary
        diary.removed.pop((path, text), None)
        diary.times[text] += 1
        diary.writes.setdefault(text, set()).add((path, name))
        replica.write(path, text, in_place=in_place)

    def delete(self, name: str, path: str) -> None:
        replica = self.all[name]
        for each, text in replica.tree().items():
            if each == path or each.startswith(path + "/"):
                self.diary.deleted_paths.add(each)
                if text is not None:
                    self._took_away(replica, each, text)
        replica.delete(path)

    def make_folder(self, name: str, path: str) -> None:
        target = self.all[name].folder / path
        if target.parent.is_dir() and not target.exists():
            target.mkdir()

    def _took_away(self, replica: Replica, path: str, text: str) -> None:
        self.diary.seen_over.add(text)
        if not replica.running or not replica.recovering:
            self.diary.removed[path, text].add(replica.name)

    # ---- short words for traces

    def save(self, name: str, path: str, text: str) -> None:
        """A person writes, and the node has noticed."""
        self.write(name, path, text)
        self.all[name].scan()

    def drop(self, name: str, path: str) -> None:
        """A person deletes, and the node has noticed."""
        self.delete(name, path)
        self.all[name].scan()

    def pull(self, name: str, *sources: str) -> None:
        for source in sources:
            self.all[name].pull(self.all[source])

    def step(self, name: str, path: str, between: Between = quiet) -> None:
        self.all[name].step(path, between)

    # ---- disasters, with the diary

    def lose_index(self, name: str) -> None:
        replica = self.all[name]
        trustworthy = self._known_without(name)
        if self._unscanned(replica):
            trustworthy.discard(name)
        self._doubt_all_but(trustworthy)
        replica.lose_index()

    def start_without_index(self, name: str) -> None:
        """As `lose_index`, after a crash: what it had written and what stood unscanned is known to nobody."""
        self._doubt_all_but(self._known_without(name) - {name})
        self.all[name].start_without_index()

    def restore(self, name: str, backup: Path, *, index_only: bool) -> None:
        self.diary.lossy = self.diary.restored = True
        if not index_only:
            self.diary.excused.update(text for text in self.all[name].tree().values() if text is not None)
        self.all[name].restore(backup, index_only=index_only)

    def _doubt_all_but(self, trustworthy: set[str]) -> None:
        self.diary.lossy = True
        for key in list(self.diary.removed):
            self.diary.removed[key] &= trustworthy
            if not self.diary.removed[key]:
                del self.diary.removed[key]

    def _known_without(self, lost: str) -> set[str]:
        """The replicas all of whose writes somebody knows whose index is not lost."""
        contexts = [replica.context() for replica in self.present if replica.name != lost and replica.running]
        unknown = {dot.author.node for dot in self.dots if not any(knows(context, dot) for context in contexts)}
        return {replica.name for replica in self.all.values() if replica.node not in unknown}

    def _unscanned(self, replica: Replica) -> bool:
        if replica.recovering:
            return True
        with replica.index.read() as view:
            bases = {path: base.content for path, base in view.bases()}
        shown = {path: FOLDER if text is None else text_content(text) for path, text in replica.tree().items()}
        return bases != shown

    # ---- quiet at last

    def quiesce(self) -> None:
        """Everyone hears everyone, looks at its own folder and does what is due, until nothing changes."""
        for replica in self.present:
            replica.interrupt()
        for _ in range(ROUNDS_MAX):
            before = self._state()
            self._round()
            if self._state() == before and not self._last_resorts():
                return
        raise Violation("no quiescence")

    def _round(self) -> None:
        for replica in self.present:
            for other in self.present:
                if other is not replica and (replica.recovering or not dominates(replica.context(), other.context())):
                    replica.pull(other)
            if replica.recovering and all(other.recovering for other in self.present):
                replica.recover()
        for replica in self.present:
            replica.scan()
        for replica in self.present:
            replica.settle()

    def _state(self) -> object:
        return [(replica.living(), replica.context(), replica.tree(), replica.recovering) for replica in self.present]

    def _last_resorts(self) -> bool:
        """Losers that no holder deals with are anybody's; what no member has any more, a person gives up."""
        first = self.present[0]
        acted = False
        for path, siblings in first.living().items():
            for content in {version.content for version in siblings.values()}:
                if content.kind is Kind.FILE and self.bytes_of(Digest(content.ident)) is None:
                    _abandon(first, path, content)
                    acted = True
            with first.index.read() as view:
                step, _ = ledger.step_at(view, path)
            if isinstance(step, KeepLoser):
                before = first.context()
                first.step(path, stepping_in=True)
                acted |= first.context() != before
        return acted

    # ---- the oracle

    def check(self, *, strict: bool = True) -> None:
        """Let things become quiet, then hold them against the promises.

        Args:
            strict: texts must stand in a folder even when an index was lost; else the trash will do then.

        Raises:
            Violation: what is not as promised.
        """
        self.quiesce()
        self._check_alike()
        self._check_dots()
        self._check_texts(strict=strict)
        self._check_copies()

    def _check_alike(self) -> None:
        first = self.present[0]
        living, context, tree = first.living(), first.context(), first.tree()
        for other in self.present[1:]:
            if other.living() != living:
                raise Violation(f"living dots differ: {living} / {other.living()}")
            if other.context() != context:
                raise Violation("contexts differ")
            if other.tree() != tree:
                raise Violation(f"folders differ: {tree} / {other.tree()}")
        with first.index.read() as one:
            prints = {one.fingerprint()}
            for other in self.present[1:]:
                with other.index.read() as view:
                    prints.add(view.fingerprint())
            if len(prints) > 1:
                raise Violation("fingerprints differ")
            for path in sorted({*living, *map(RelPath, tree)}, key=tree_key):
                outlook = outlook_of(one.siblings(path), one.has_living_below(path))
                if outlook.losers:
                    raise Violation(f"a loser is left at {path}")
                shown = None if outlook.winner is None else outlook.winner.content
                text = tree.get(path, "")
                there = None if path not in tree else FOLDER if text is None else text_content(text)
                if shown != there:
                    raise Violation(f"{path} shows {there}, not {shown}")
            self._check_metadata(living)
            if one.pending_count():
                raise Violation(f"{one.pending(RelPath(''), 9)} is pending though all is quiet")
            floor, known = one.floor(), one.context()
            if any(seq > known.get(author, 0) for author, seq in floor.items()):
                raise Violation("the floor is above the context")

    def _check_metadata(self, living: dict[RelPath, dict[Dot, Version]]) -> None:
        for path in living:
            seen = set()
            for replica in self.present:
                found = (replica.folder / path).lstat()
                is_file = (replica.folder / path).is_file()
                seen.add((found.st_mode & 0o777, found.st_mtime_ns if is_file else 0))
            if len(seen) > 1:
                raise Violation(f"times or bits of {path} differ: {seen}")

    def _check_dots(self) -> None:
        """Exactly those living dots are left that no known write has replaced."""
        first = self.present[0]
        context = first.context()
        known = {dot: write for dot, write in self.dots.items() if knows(context, dot)}
        replaced = {dot for write in known.values() for dot in write.replaced}
        want: dict[RelPath, set[Dot]] = defaultdict(set)
        for dot, write in known.items():
            if dot not in replaced and write.content.kind is not Kind.TOMBSTONE:
                want[write.path].add(dot)
        got = {path: set(siblings) for path, siblings in first.living().items()}
        if got != want:
            raise Violation(f"dots are lost or back: {got} / {dict(want)}")

    def _check_texts(self, *, strict: bool) -> None:
        diary = self.diary
        tree = self.present[0].tree()
        found = {text for replica in self.all.values() for text in replica.tree().values()}
        for text in diary.writes:
            if text in found or text in diary.seen_over or text in diary.excused:
                continue
            if diary.lossy and not strict and any(text in replica.trashed() for replica in self.all.values()):
                continue
            raise Violation(f"{text!r} is lost, written at {diary.writes[text]}")
        if not diary.restored and not (diary.lossy and diary.forgetting):
            for path, text in diary.removed:
                if diary.times[text] == 1 and tree.get(path) == text and COPY_MARK not in path:
                    raise Violation(f"{text!r} is back at {path}")
        if not diary.lossy and not self.gone:
            for places in diary.writes.values():
                for path, _ in places:
                    plain = not parent(RelPath(path)) and COPY_MARK not in path
                    if plain and path not in diary.deleted_paths and path not in tree:
                        raise Violation(f"nobody deleted {path}, but it is gone")

    def _check_copies(self) -> None:
        """One loser has one copy, however many made it."""
        seen: dict[tuple[str, str], str] = {}
        for path, text in self.present[0].tree().items():
            if text is None or path.count(COPY_MARK) != 1:
                continue
            if any(path == each for each, _ in self.diary.writes.get(text, ())):
                continue  # a person wrote that there
            key = path.partition(COPY_MARK)[0], text
            if key in seen:
                raise Violation(f"two copies of one loser: {path} and {seen[key]}")
            seen[key] = path


def _abandon(replica: Replica, path: RelPath, content: Content) -> None:
    with replica.index.write() as tx:
        gone = frozenset(dots_of(tx.siblings(path), content))
        ledger.write(tx, path, Change(Version(Kind.TOMBSTONE, height=1), gone))


def chance(rng: random.Random, share: float) -> Callable[[], bool]:
    return lambda: rng.random() < share

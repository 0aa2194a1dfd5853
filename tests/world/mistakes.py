"""Mistakes to plant into the engine that ships: the world must find each of them.

Those of the rules come from `mistakes` (which the traces use as well), as far as they change the shipped code; those of
the engine are here: what a simpler engine would do between network, index and disk.
"""

import asyncio
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import mistakes as of_rules
import pytest

from meerkat.core import merge as merging
from meerkat.disk import commit, platform, scan, trash
from meerkat.disk.commit import Raced
from meerkat.disk.root import Root
from meerkat.disk.root import stat_of as stat_of_honestly
from meerkat.disk.stage import Stage
from meerkat.model.dot import Author, Dot, Vector, knows
from meerkat.model.frame import AskEntries, EntriesEnd, EntriesPart
from meerkat.model.path import RelPath
from meerkat.model.version import Base, Entry, Kind, Siblings
from meerkat.node import ledger, oblivion, opening, pull
from meerkat.node.claims import Claims
from meerkat.node.inward import Inward
from meerkat.node.late import Late
from meerkat.node.outward import Outward
from meerkat.node.ports import Intent, Tx
from meerkat.node.pull import Puller

Plant = Callable[[pytest.MonkeyPatch], None]


def rename_without_looking(patches: pytest.MonkeyPatch) -> None:
    """What is believed to stand at a path is replaced, whatever stands there, and what came out is not looked at."""
    patches.setattr(commit, "_differs", lambda *args: "")
    patches.setattr(commit, "_is_old", lambda *args: True)
    patches.setattr(platform, "rename_noreplace", _rename_over)


def _rename_over(src_dir: int, src: str, dst_dir: int, dst: str) -> None:
    os.rename(src, dst, src_dir_fd=src_dir, dst_dir_fd=dst_dir)


def not_put_back(patches: pytest.MonkeyPatch) -> None:
    """When an exchange brings out a person's bytes, they stay where they came out."""
    patches.setattr(commit, "_return_exchanged", lambda *args: Raced("it was written to just now"))


def nothing_flushed(patches: pytest.MonkeyPatch) -> None:
    """What is staged is renamed into place before its bytes are durable."""
    patches.setattr(Stage, "flush", lambda self, names: None)


def renames_not_flushed(patches: pytest.MonkeyPatch) -> None:
    """A commit is recorded before its renames are durable."""
    patches.setattr(commit, "sync_parents", lambda root, paths: None)


def stat_is_enough(patches: pytest.MonkeyPatch) -> None:
    """A file of the same size and time is taken for unchanged (neither inode nor ctime count)."""
    honest = stat_of_honestly

    def stat_of(found: os.stat_result) -> Any:
        seen = honest(found)
        return None if seen is None else seen._replace(ctime_ns=1, inode=1)

    patches.setattr(scan, "stat_of", stat_of)


def context_first(patches: pytest.MonkeyPatch) -> None:
    """The context is advanced in a transaction of its own, before the one with the entries."""
    old: ContextVar[dict[Author, int] | None] = ContextVar("old", default=None)
    honest_merge, honest_path = Puller._merge, ledger._merge_path

    async def merge(
        self: Puller, source: Any, end: EntriesEnd, number: int | None, held: list[Entry], claimed: dict[Author, int]
    ) -> bool:
        if end.full:
            return await honest_merge(self, source, end, number, held, claimed)
        token = old.set(dict(self._books.context))
        try:
            await self._books.write(lambda tx: tx.join_context(end.context, end.floor))
            return await honest_merge(self, source, end, number, held, claimed)
        finally:
            old.reset(token)

    def merge_path(tx: Tx, path: RelPath, theirs: Siblings, mine: Vector, context: Vector) -> bool:
        return honest_path(tx, path, theirs, old.get() or mine, context)

    patches.setattr(Puller, "_merge", merge)
    patches.setattr(ledger, "_merge_path", merge_path)


def parts_shown(patches: pytest.MonkeyPatch) -> None:
    """The parts of a long pull are merged as they come."""
    honest = pull._put_aside

    def put_aside(number: int, entries: tuple[Entry, ...], tx: Tx) -> None:
        honest(number, entries, tx)
        for entry in entries:
            merged = merging.merge(tx.siblings(entry.path), entry.siblings, tx.context(), {})
            tx.put_siblings(entry.path, merged)

    patches.setattr(pull, "_put_aside", put_aside)


def no_snapshot(patches: pytest.MonkeyPatch) -> None:
    """Each part of a long pull is read when it is sent, and the context when all were."""

    def parts(self: Puller, ask: AskEntries, *, packed: bool = False) -> Generator[Any, None, None]:
        with self._books.snapshot() as view:
            entries = list(view.entries() if ask.full else view.entries_beyond(ask.context))
        for at in range(0, len(entries), 2):
            with self._books.snapshot() as view:
                batch = tuple(Entry(each.path, view.siblings(each.path)) for each in entries[at : at + 2])
            yield EntriesPart(ask.id, batch, packed=packed)
        with self._books.snapshot() as view:
            yield EntriesEnd(ask.id, view.context(), view.floor(), ask.full, view.fingerprint())

    patches.setattr(Puller, "_parts", parts)


def watch_believed(patches: pytest.MonkeyPatch) -> None:
    """Nothing is ever scanned again: what the watch does not tell did not happen."""
    honest = Outward.scan
    seen: set[int] = set()

    async def scan_once(self: Outward, *args: Any, **options: Any) -> Any:
        if id(self) in seen:
            await asyncio.sleep(0)
            return None
        seen.add(id(self))
        return await honest(self, *args, **options)

    patches.setattr(Outward, "scan", scan_once)


def nothing_claimed(patches: pytest.MonkeyPatch) -> None:
    """Both halves of the engine work on a path at once."""
    patches.setattr(Claims, "take", lambda self, paths: list(paths))
    patches.setattr(Claims, "__contains__", lambda self, path: False)


def delay_forgotten(patches: pytest.MonkeyPatch) -> None:
    """A path that comes due while a pass is under way is taken for met (found by the world, and mended)."""
    honest = Inward._forget_delays
    patches.setattr(Inward, "_forget_delays", lambda self, began: honest(self, self._now()))


def trash_copies(patches: pytest.MonkeyPatch) -> None:
    """The trash keeps a copy of the bytes, so what is written late through an open handle is nowhere."""
    honest = platform.rename_noreplace

    def rename(src_dir: int, src: str, dst_dir: int, dst: str) -> None:
        if "/trash/" in os.readlink(f"/proc/self/fd/{dst_dir}"):
            with open(f"/proc/self/fd/{src_dir}/{src}", "rb") as file:
                data = file.read()
            handle = os.open(dst, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=dst_dir)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.unlink(src, dir_fd=src_dir)
        else:
            honest(src_dir, src, dst_dir, dst)

    patches.setattr(trash, "platform", _With(platform, rename_noreplace=rename))


class _With:
    """A module with one function exchanged, for one of its users."""

    def __init__(self, module: Any, **others: Any) -> None:
        self._module = module
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def nothing_trashed(patches: pytest.MonkeyPatch) -> None:
    """What an exchange brings out is dropped."""

    def keep(self: Any, stage: Stage, name: str, path: RelPath, content: Any, known: Any = None) -> str:
        stage.drop(name)
        return ""

    patches.setattr(trash.Trash, "keep", keep)


def intents_after(patches: pytest.MonkeyPatch) -> None:
    """After a crash every commit that was under way counts as not begun, and its stage name as free."""

    def heal(root: Root, stage: Stage, trash_: Any, tx: Tx, after: object) -> int:
        intents: list[Intent] = tx.intents()
        for intent in intents:
            stage.drop(intent.stage)
            tx.clear_intent(intent.path)
            tx.set_pending(intent.path)
        return len(intents)

    patches.setattr(opening, "heal_intents", heal)


def always_adopting(patches: pytest.MonkeyPatch) -> None:
    """A dot is given although the index was lost, before anything was learnt."""
    honest = ledger.record

    def record(tx: Tx, sights: Iterable[Any], *, adopting: bool = False) -> list[RelPath]:
        return honest(tx, sights, adopting=False)

    patches.setattr(ledger, "record", record)


def folders_swept(patches: pytest.MonkeyPatch) -> None:
    """A folder that the pool has deleted goes with all that is in it."""
    import shutil

    honest = commit.remove_folder

    def remove_folder(root: Root, path: RelPath, expected: Base) -> Any:
        if expected.content.kind is Kind.FOLDER:
            shutil.rmtree(root.directory / path, ignore_errors=True)
            return commit.Placed(None, None)
        return honest(root, path, expected)

    patches.setattr(commit, "remove_folder", remove_folder)


def late_bytes_left(patches: pytest.MonkeyPatch) -> None:
    """What is written late, through a handle opened before, stays in the trash."""
    patches.setattr(Late, "_check", lambda self, kept, *, written: None)


def floor_not_raised(patches: pytest.MonkeyPatch) -> None:
    """Tombstones are forgotten, and no floor tells anybody."""

    def forget_tombstones(tx: Tx, after: RelPath, limit: int, covered: Any) -> tuple[RelPath, int]:
        page = tx.dead(after, limit)
        count = 0
        for path in page:
            siblings = tx.siblings(path)
            if tx.base(path) is None and not any(version.living for version in siblings.values()):
                kept = {dot: each for dot, each in siblings.items() if not _covered(dot, covered)}
                count += len(siblings) - len(kept)
                tx.put_siblings(path, kept)
                ledger.refresh(tx, path)
        return (page[-1] if len(page) == limit else RelPath("")), count

    patches.setattr(oblivion, "forget_tombstones", forget_tombstones)


def _covered(dot: Dot, vectors: Iterable[Vector]) -> bool:
    return any(knows(vector, dot) for vector in vectors)


_OF_RULES = (
    "silent_twin",
    "silent_tombstone",
    "anyone_drops",
    "silent_loser",
    "no_height",
    "author_in_name",
    "holder_only",
    "replace_all",
    "no_retraction",
    "strong_copies",
    "equal_content_heals",
    "no_intent",
    "no_inspection",
    "stage_wiped",
    "ordinary_adoption",
    "epoch_continued",
    "older_index_trusted",
    "late_resolve",
)
_OF_ENGINE = (
    rename_without_looking,
    not_put_back,
    nothing_flushed,
    renames_not_flushed,
    stat_is_enough,
    context_first,
    parts_shown,
    no_snapshot,
    watch_believed,
    nothing_claimed,
    delay_forgotten,
    trash_copies,
    nothing_trashed,
    intents_after,
    always_adopting,
    folders_swept,
    late_bytes_left,
    floor_not_raised,
)
MISTAKES: dict[str, Plant] = {
    **{name: getattr(of_rules, name) for name in _OF_RULES},
    **{plant.__name__: plant for plant in _OF_ENGINE},
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """With the mistake of that name in the engine; with none when empty."""
    with pytest.MonkeyPatch.context() as patches:
        if name:
            MISTAKES[name](patches)
        yield

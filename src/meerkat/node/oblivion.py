"""Tombstones are forgotten when every member has known them for long, or at the latest after half a year.

Entries hold no time, so this node notes now and then what it knows (`core.retain`): a tombstone that such a note covers
is at least as old as the note. The floor, raised with each forgetting, sends whoever missed one into a full comparison:
what the pool deleted goes there too, what was edited there meanwhile survives.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from meerkat.core.plan import Settled
from meerkat.core.retain import Mark, forgettable, marked
from meerkat.model.dot import Author, Vector, knows
from meerkat.model.ids import NodeId
from meerkat.model.limits import (
    TOMBSTONE_AGE_S_MAX,
    TOMBSTONE_AGE_S_MIN,
    TOMBSTONE_MARK_S,
    TOMBSTONE_TURN_S,
    TOMBSTONES_AT_ONCE,
)
from meerkat.model.path import ROOT, RelPath
from meerkat.node import ledger
from meerkat.node.books import Books
from meerkat.node.ports import Tx

log = logging.getLogger("meerkat.oblivion")

_MARKS: Final = "tombstone marks"


async def forget_slowly(books: Books, known: Callable[[], Sequence[Vector]]) -> None:
    """For ever.

    Args:
        known: the context of every member, of this node too; empty of one never heard of.
    """
    while True:
        await asyncio.sleep(TOMBSTONE_TURN_S)
        await books.recovered.wait()
        await forget(books, known(), time.time())  # noqa: TID251  # only how early something safe is done


async def forget(books: Books, known: Sequence[Vector], now_s: float) -> int:
    """Note what is known, forget what may go; how many tombstones went.

    Args:
        now_s: seconds since 1970.
    """

    def note(tx: Tx) -> list[Mark]:
        marks = _unpacked(tx.meta(_MARKS))
        fresh = marked(marks, now_s, tx.context(), TOMBSTONE_MARK_S, TOMBSTONE_AGE_S_MAX)
        if fresh != marks:
            tx.put_meta(_MARKS, _packed(fresh))
        return fresh

    marks = await books.write(note)
    covered = [each for each in forgettable(marks, now_s, known, TOMBSTONE_AGE_S_MIN, TOMBSTONE_AGE_S_MAX) if each]
    if not covered:
        return 0
    after, total = ROOT, 0
    while True:

        def turn(tx: Tx, after: RelPath = after) -> tuple[RelPath, int]:
            return forget_tombstones(tx, after, TOMBSTONES_AT_ONCE, covered)

        after, count = await books.write(turn)
        total += count
        if not after:
            break
    if total:
        log.info("%d tombstones are forgotten: everybody has known them for long", total)
    return total


def _packed(marks: Sequence[Mark]) -> bytes:
    return json.dumps([[at, [[*author, seq] for author, seq in context.items()]] for at, context in marks]).encode()


def _unpacked(packed: bytes | None) -> list[Mark]:
    rows = json.loads(packed) if packed else []
    return [(at, {Author(NodeId(node), epoch): seq for node, epoch, seq in context}) for at, context in rows]


def forget_tombstones(tx: Tx, after: RelPath, limit: int, covered: Sequence[Vector]) -> tuple[RelPath, int]:
    """Forget the tombstones that one of the vectors covers, where nothing lives or waits, and raise the floor above
    them in the same transaction (R2). Those beside something living stay: what they superseded may yet turn up (R6).

    Returns:
        where to go on ("": that was all), and how many tombstones were forgotten.
    """
    page = tx.dead(after, limit)
    tx.look_ahead(page)
    floor: dict[Author, int] = {}
    count = 0
    for path in page:
        siblings = tx.siblings(path)
        if any(version.living for version in siblings.values()) or tx.base(path) is not None or tx.is_held(path):
            continue
        kept = {dot: each for dot, each in siblings.items() if not any(knows(vector, dot) for vector in covered)}
        step, _ = ledger.step_at(tx, path, kept)
        if len(kept) == len(siblings) or not isinstance(step, Settled):
            continue
        for author, seq in siblings.keys() - kept.keys():
            floor[author] = max(seq, floor.get(author, 0))
            count += 1
        tx.put_siblings(path, kept)
        ledger.refresh(tx, path)
    if count:
        tx.join_context({}, floor)
    return (page[-1] if len(page) == limit else ROOT), count

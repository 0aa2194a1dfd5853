"""The transactions: every way in which the index changes, as a function over one `Tx`.

Each reads, lets the core decide, and writes, all in one transaction, so that a crash leaves a whole decision or none.
No disk, no network, no clock. What is derived (which paths wait) is refreshed in the same breath.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from meerkat.core import merge as merging
from meerkat.core.compare import Change, adopt, compare, touched, version_of
from meerkat.core.plan import Place, Remove, Retouch, Settled, Step, plan
from meerkat.core.resolve import is_copy
from meerkat.core.resolve import view as outlook_of
from meerkat.disk.scan import Sight
from meerkat.model.dot import Author, Dot, Vector
from meerkat.model.ids import NodeId
from meerkat.model.limits import LOOK_AHEAD_PATHS
from meerkat.model.path import RelPath, ancestors, is_below, tree_key
from meerkat.model.recipe import Recipe
from meerkat.model.version import FOLDER, Base, Content, Entry, Kind, Siblings, Version
from meerkat.node.opening import new_author
from meerkat.node.ports import Tx, View

log = logging.getLogger("meerkat.ledger")


class NeedFull(Exception):
    """The other side has forgotten tombstones that this node has never heard of: everything must be compared (R2)."""


class Job(Struct, frozen=True):
    """What is to be done at a pending path, and what the decision was made on."""

    path: RelPath
    step: Step
    base: Base | None


def write(tx: Tx, path: RelPath, change: Change) -> Dot:
    """Give the change its dot and put it in."""
    dot = Dot(tx.author(), tx.next_seq())
    tx.put_siblings(path, merging.replace(tx.siblings(path), change.replaces, dot, change.version))
    return dot


def write_new(tx: Tx, path: RelPath, change: Change, base: Base) -> Dot:
    """As `write`, with the base, at a path that had neither siblings nor base: nothing is left to be done there."""
    return tx.put_new(path, change.version, base)


def step_at(view: View, path: RelPath, siblings: Siblings | None = None) -> tuple[Step, Base | None]:
    """The plan's answer for one path now."""
    siblings = view.siblings(path) if siblings is None else siblings
    base = view.base(path)
    return plan(path, siblings, base, view.has_living_below(path)), base


def refresh(tx: Tx, path: RelPath) -> None:
    """Keep the set of pending paths true for this one."""
    step, _ = step_at(tx, path)
    if isinstance(step, Settled):
        tx.clear_pending(path)
    else:
        tx.set_pending(path)


def retract(tx: Tx, path: RelPath) -> None:
    """R6: tombstone what nobody wrote here and somebody has superseded."""
    siblings = tx.siblings(path)
    gone = merging.retractable(siblings)
    if gone:
        replaced = gone | merging.tombstones(siblings)
        tombstone = merging.supersede(siblings, replaced, Version(Kind.TOMBSTONE))
        write(tx, path, Change(tombstone, frozenset(replaced)))


# ---- outward


def record(tx: Tx, sights: Iterable[Sight], *, adopting: bool = False) -> list[RelPath]:
    """R4-R5 (or R11-R12 when adopting): take in what was seen on the disk.

    An index that began empty has its bases from an earlier part of this same adoption, which was cut off. What is
    missing since then has gone by a person's hand: its base stays, for the ordinary look that follows an adoption.

    Returns:
        the paths for which something was written, that is: something to tell the pool.
    """
    decide = adopt if adopting else compare
    written = []
    sights = list(sights)
    tx.look_ahead(sight.path for sight in sights)
    holding = not adopting and bool(tx.holds())
    begun_here = adopting and tx.meta("recovering") != b"older"
    for sight in sights:
        path, have = sight.path, sight.base
        base = tx.base(path)
        if holding and tx.is_held(path) and _still_held(tx, path, have):
            continue
        if sight.same and base is not None and have is not None and base.content == have.content:
            if adopting:
                refresh(tx, path)
            continue
        if have is None and begun_here:
            continue
        siblings = tx.siblings(path)
        below = have is not None and have.content.kind is Kind.FOLDER and tx.has_living_below(path)
        change = decide(siblings, base, have, below)
        if sight.recipe is not None and have is not None:
            keep_recipe(tx, have, sight.recipe)
        if change is not None and have is not None and base is None and _is_unheard(tx, path, siblings, have):
            write_new(tx, path, change, have)
            written.append(path)
            continue
        tx.put_base(path, have)
        if change is not None:
            if base is None and have is not None and is_copy(path, have.content):
                # Put there by a node that died before it could record it (R7), or as good as that: no person's write.
                change = replace(change, version=replace(change.version, weak=True))
            write(tx, path, change)
            retract(tx, path)
            written.append(path)
        elif not adopting and have and base and have.content == base.content and not touched(base, have):
            continue  # nothing that the plan looks at; bits that this disk cannot hold must not become due again
        refresh(tx, path)
    return written


def _is_unheard(view: View, path: RelPath, siblings: Siblings, have: Base) -> bool:
    """True where nobody has ever written: then what is written of what was seen is all that there is, and settled."""
    return not siblings and not is_copy(path, have.content) and not view.has_living_below(path)


def _still_held(tx: Tx, path: RelPath, have: Base | None) -> bool:
    """What a look at a held path means: gone as before, or it is over. It is, too, when the pool has replaced what
    stood there: an edit beats a deletion that nobody was told of, and another's deletion ends the question. An edit by
    somebody who had not seen what stood there is no answer to it, and waits with it: put down now, it would leave the
    other content a loser on no disk, neither deleted nor to be had, for which everybody would wait.

    A file or a link where a held folder stood waits with what was in that: told now, it would lose to it. But a held
    folder comes back for what others have put into it since."""
    if have is None:
        step, base = step_at(tx, path)
        if base is None or base.content != FOLDER or not _waits_below(tx, path):
            if isinstance(step, Settled):
                return True
            if base is not None and merging.dots_of(tx.siblings(path), base.content):
                tx.clear_pending(path)  # the hold is what it waits for
                return True
        over = [path, *(above for above in ancestors(path) if tx.is_held(above))]  # it cannot stand without these
        tx.release_held(over)
        for each in over:
            tx.put_base(each, None)
            refresh(tx, each)
        return True
    if have.content.kind is not Kind.FOLDER and any(is_below(each, path) for each in tx.held(None, path, 1)):
        return True
    tx.release_held([path])
    return False


def _waits_below(tx: Tx, path: RelPath) -> bool:
    """Something that is not held is to be put down below the path."""
    page = [each for each in tx.pending(path, LOOK_AHEAD_PATHS) if is_below(each, path)]
    return any(not tx.is_held(each) and isinstance(step_at(tx, each)[0], Place) for each in page)


def reject(tx: Tx, paths: Sequence[RelPath]) -> None:
    """These held paths are to come back: nothing stands there, so the plan puts them down again."""
    tx.release_held(paths)
    tx.look_ahead(paths)
    forget_bases(tx, paths)


def forget_bases(tx: Tx, paths: Sequence[RelPath]) -> None:
    """What stood at these paths has gone and was not deleted for the others: the plan puts it down again."""
    for path in paths:
        tx.put_base(path, None)
        refresh(tx, path)


def keep_recipe(tx: Tx, base: Base, recipe: Recipe) -> None:
    tx.put_recipe(base.recipe, recipe.pack())
    tx.put_chunks(base.content.ident, recipe.chunks)  # type: ignore[arg-type]  # a file's ident is its digest


def forget_bases_below(tx: Tx, path: RelPath) -> list[RelPath]:
    """Every path at or below `path` with a base, for a look (a folder went away, or came)."""
    return [each for each, _ in tx.bases(path)]


# ---- inward


def renew_if_outrun(tx: Tx, context: Vector, spare: Author) -> bool:
    """R12: somebody remembers more of our present life than we do: it is over, before any further dot is given.

    Args:
        spare: the author to go on as; nobody has ever been it.
    """
    author = tx.author()
    if context.get(author, 0) <= tx.context().get(author, 0):
        return False
    tx.renew_author(spare)
    return True


def knows_more_of(tx: Tx, node: NodeId, context: Vector) -> bool:
    """True when somebody remembers writes of that node, in any of its lives, that are not known here."""
    mine = tx.context()
    return any(author.node == node and seq > mine.get(author, 0) for author, seq in context.items())


def keep_own(tx: Tx, paths: Iterable[RelPath]) -> None:
    """R12, after a merge with one who claims to remember more of this node's writes than this node, or who knows the
    same and holds something else: what it lacks may have been superseded by writes that were forgotten here, or it has
    lost it, or the claim is wrong. What stands on this disk and nothing has knowingly superseded is kept, as after a
    loss of the index (R11)."""
    for path in paths:
        change = adopt(tx.siblings(path), None, tx.base(path), tx.has_living_below(path))
        if change is not None:
            write(tx, path, change)
            refresh(tx, path)


def merge_entries(
    tx: Tx, entries: Iterable[Entry], context: Vector, floor: Vector, *, dots_allowed: bool
) -> list[RelPath]:
    """R2 over a delta: merge, join the vectors, retract.

    Args:
        context, floor: the sender's, of the snapshot that the entries came from.
        dots_allowed: False while this node's own index is being recovered (R11: no dots until then).

    Returns:
        the paths whose siblings changed.

    Raises:
        NeedFull: a delta is not legal; nothing was changed.
    """
    if not merging.delta_is_legal(tx.context(), floor):
        raise NeedFull
    return merge_differing(tx, entries, context, floor, dots_allowed=dots_allowed)


def merge_differing(
    tx: Tx, entries: Iterable[Entry], context: Vector, floor: Vector, *, dots_allowed: bool
) -> list[RelPath]:
    """R2 over those entries of a sender that may differ from the ones here, whatever its floor: all else it has just as
    it is here. Entries without siblings say that the sender has nothing there."""
    mine = tx.context()
    changed = []
    for entry in _looked_up(tx, entries):
        faces = merging.two_faced(tx.siblings(entry.path), entry.siblings) if dots_allowed else {}
        if _merge_path(tx, entry.path, entry.siblings, mine, context) or faces:
            changed.append(entry.path)
            _tell_apart(tx, entry.path, faces)
            if dots_allowed:
                retract(tx, entry.path)
    tx.join_context(context, floor)
    return changed


def _looked_up(view: View, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same, each read up before it is dealt with, many to a query."""
    waiting = iter(entries)
    while batch := list(islice(waiting, LOOK_AHEAD_PATHS)):
        view.look_ahead(entry.path for entry in batch)
        yield from batch


def merge_everything(
    tx: Tx, theirs: Iterator[Entry], context: Vector, floor: Vector, *, dots_allowed: bool
) -> list[RelPath]:
    """R2 over the whole index: `theirs` is all that the sender has, in tree order; what it lacks counts as well."""
    mine = tx.context()
    changed = []
    both = _side_by_side(tx.entries(), theirs)
    while batch := list(islice(both, LOOK_AHEAD_PATHS)):  # so that no memory grows with the folder
        merged = [(path, ours, other, merging.merge(ours, other, mine, context)) for path, ours, other in batch]
        updates = [
            (path, result, faces)
            for path, ours, other, result in merged
            if (faces := merging.two_faced(ours, other) if dots_allowed else {}) or result != ours
        ]
        tx.look_ahead(path for path, _, _ in updates)
        for path, result, faces in updates:
            tx.put_siblings(path, result)
            _tell_apart(tx, path, faces)
            if dots_allowed:
                retract(tx, path)
        changed += [path for path, _, _ in updates]
    tx.join_context(context, floor)
    return changed


def _tell_apart(tx: Tx, path: RelPath, faces: dict[Dot, tuple[Version, Version]]) -> None:
    """R12: where two contents met under one dot, both go on as writes of this node, under dots of their own, and the
    old one is replaced: so all nodes come to hold both, whichever they had. If it was our own life's, that is over."""
    for dot, versions in sorted(faces.items(), key=lambda item: item[0]):
        if dot.author == tx.author():
            tx.renew_author(new_author(dot.author.node))
        log.error("%s has two contents under one write of %s: a copied or lying node; both are kept", path, dot.author)
        for version in versions:
            write(tx, path, Change(version, frozenset({dot})))


def _merge_path(tx: Tx, path: RelPath, theirs: Siblings, mine: Vector, context: Vector) -> bool:
    ours = tx.siblings(path)
    merged = merging.merge(ours, theirs, mine, context)
    if merged == ours:
        return False
    tx.put_siblings(path, merged)
    return True


def _side_by_side(ours: Iterator[Entry], theirs: Iterator[Entry]) -> Iterator[tuple[RelPath, Siblings, Siblings]]:
    """Walk two streams in tree order together."""
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and tree_key(mine.path) < tree_key(other.path)):
            assert mine is not None
            yield mine.path, mine.siblings, {}
            mine = next(ours, None)
        elif mine is None or tree_key(other.path) < tree_key(mine.path):
            yield other.path, {}, other.siblings
            other = next(theirs, None)
        else:
            yield mine.path, mine.siblings, other.siblings
            mine, other = next(ours, None), next(theirs, None)


def jobs_at(view: View, paths: Sequence[RelPath]) -> list[Job]:
    """The steps of these paths now; settled ones too."""
    view.look_ahead(paths)
    return [job_at(view, path) for path in paths]


def job_at(view: View, path: RelPath) -> Job:
    step, base = step_at(view, path)
    return Job(path, step, base)


def settle(tx: Tx, paths: Iterable[RelPath], drop: Callable[[RelPath], bool]) -> None:
    """Strike the paths off the pending ones if they still are settled, or are ignored here (`drop`)."""
    paths = list(paths)
    tx.look_ahead(paths)
    for path in paths:
        if drop(path):
            tx.clear_pending(path)
        else:
            refresh(tx, path)


def derive_pending(tx: Tx) -> None:
    """Derive anew which paths wait, from nothing but index and bases (other rules of ignoring, doubt)."""
    for batch in _batches(entry.path for entry in tx.entries()):
        tx.look_ahead(batch)
        for path in batch:
            refresh(tx, path)
    for batch in _batches(path for path, _ in tx.bases()):
        tx.look_ahead(batch)
        for path in batch:
            if not tx.siblings(path):
                refresh(tx, path)


def _batches(paths: Iterable[RelPath]) -> Iterator[list[RelPath]]:
    """The same, as many at a time as are read up together."""
    waiting = iter(paths)
    while batch := list(islice(waiting, LOOK_AHEAD_PATHS)):
        yield batch


def record_placed(tx: Tx, placed: Iterable[tuple[RelPath, Base | None]]) -> None:
    """The disk now shows this: note it, strike the intents. Telling the pool needs no more than this."""
    placed = list(placed)
    tx.look_ahead(path for path, _ in placed)
    for path, base in placed:
        tx.put_base(path, base)
        tx.clear_intent(path)
        refresh(tx, path)


def record_retouched(tx: Tx, placed: Iterable[tuple[RelPath, Base, Version]]) -> None:
    """The disk now has the bits and times of that version at the path, as far as it can hold them."""
    for path, base, wanted in placed:
        tx.put_base(path, base)
        step, _ = step_at(tx, path)
        if isinstance(step, Retouch) and step.version == wanted:
            tx.clear_pending(path)  # the file system cannot hold the exact time or bits: trying again would not help
        else:
            refresh(tx, path)  # what the pool wants there may have changed meanwhile


def let_stay(tx: Tx, path: RelPath) -> None:
    """What is to be removed at the path is kept on purpose: waiting for that would never end."""
    step, _ = step_at(tx, path)
    if isinstance(step, Remove):
        tx.clear_pending(path)


def keep_loser(tx: Tx, path: RelPath, content: Content, copy: RelPath, copy_base: Base | None) -> bool:
    """R7, after the loser's bytes stand (durably) at `copy`: a weak dot there, a tombstone for the loser's dots here.

    Args:
        copy_base: what was put at `copy`, or None when nothing was put: its name lives with that content already (or
            with an edit of it), or this disk shows it there.

    Returns:
        False when it is gone or no loser any more (news may have made it the winner: its tombstone would take the
        path away, though nobody deleted it), or when the copy has gone since somebody looked: nothing was written.
    """
    siblings = tx.siblings(path)
    dots = merging.dots_of(siblings, content)
    if copy_base is not None:
        tx.put_base(copy, copy_base)
    if content not in (item.content for item in outlook_of(siblings, tx.has_living_below(path)).losers):
        refresh(tx, copy)  # what was put there is nobody's now, and goes again
        return False
    at_copy = tx.siblings(copy)
    shown = tx.base(copy)
    kept = merging.is_kept(at_copy, content)
    if not kept and (shown is None or shown.content != content):
        return False
    if not kept:
        loser = siblings[max(dots)]
        height = max(siblings[dot].height for dot in dots)
        dead = merging.tombstones(at_copy)
        origin = loser.copy_of or max(dots).author.node
        weak = replace(loser, weak=True, height=height, hist=(), origin=origin)
        write(tx, copy, Change(merging.supersede(at_copy, dead, weak, keep_height=True), frozenset(dead)))
        retract(tx, copy)
    gone = dots | merging.tombstones(siblings)
    write(tx, path, Change(merging.supersede(siblings, gone, Version(Kind.TOMBSTONE)), frozenset(gone)))
    refresh(tx, path)
    refresh(tx, copy)
    return True


def abandon(tx: Tx, path: RelPath, content: Content) -> Version | None:
    """R7, its last sentence: nobody has the bytes of that content any more, and a person gives it up. A new dot
    replaces its dots and the tombstones, nothing else. Where nothing else lives at the path and this disk shows
    something there, that stays, as what a person chose over it; a tombstone would take it away on every node.

    Returns:
        what was written, with the writer of what was given up as its `origin`; None: nothing, since nobody waits for
        that content here any more.
    """
    siblings, base = tx.siblings(path), tx.base(path)
    dots = merging.dots_of(siblings, content)
    if not dots or (base is not None and base.content == content):
        return None
    gone = dots | merging.tombstones(siblings)
    others = any(version.living for dot, version in siblings.items() if dot not in dots)
    keep = base is not None and not others and not tx.is_held(path) and not tx.has_living_below(path)
    left = version_of(base) if keep and base is not None else Version(Kind.TOMBSTONE)
    last = max(dots)
    left = replace(left, origin=siblings[last].copy_of or last.author.node)
    write(tx, path, Change(merging.supersede(siblings, gone, left), frozenset(gone)))
    retract(tx, path)
    refresh(tx, path)
    return left

"""Restart: what a crash left half-way is ended before anything is scanned, merged or planned (MERGE rule R9).

Whether a commit happened is read from the stage: while our staged inode still lies there, it did not. Else the base is
what was put there, whatever the path shows now; what it shows is a person's later doing, for the next scan.

What is exchanged for something has a stage name meanwhile that no download has: what comes out of the path may be a
person's, and no start may take it for a part of a download, not even one whose index knows nothing of the commit.

What was staged may have stood at the path for a while all the same, before it was taken back, and somebody may have
edited it there. Under its name the next download would write over that, so it gets another; it leaves the stage only
when the index has durably forgotten the intent.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.ids import Digest
from meerkat.model.limits import COPY_NAMES_TRIED_MAX
from meerkat.model.path import PathFault, RelPath, parse_path
from meerkat.model.problem import PathBlocked, Problem
from meerkat.model.version import Base, Content, Kind, Stat, Version
from meerkat.node.ports import Intent, Tx, View
from meerkat.node.relocate import heal_relocation
from meerkat.node.stage_names import is_download, is_made, is_out, may_hold, own_name

log = logging.getLogger("meerkat.heal")

Note = Callable[[], object]
"""Notes in the index what an ended commit has left, once that is durable."""

After = Callable[[], object]
"""To be called once the transaction is durable (by `run_after`)."""


def names_of(intents: Iterable[Intent]) -> set[str]:
    """The stage names of which these intents speak: while they stand, nothing is dropped there."""
    return {name for intent in intents for name in (intent.stage, own_name(intent.stage))}


def _nothing() -> None:
    """Nothing has come of it: the index says what is so."""


def heal_intents(root: Root, stage: Stage, trash: Trash, tx: Tx, after: list[After]) -> int:
    """At a start: end every commit that was under way; the number of them.

    The intents of those that cannot be ended yet stay, and whatever lies under their stage names.

    Args:
        after: what is to be run when the transaction is durable is put there.
    """
    heal_relocation(root, tx)
    intents = tx.intents()
    _heal(root, stage, trash, tx, intents, after)
    return len(intents)


def heal_at(
    root: Root, stage: Stage, trash: Trash, tx: Tx, paths: Collection[RelPath], after: list[After]
) -> dict[RelPath, Problem]:
    """Within a life: end the commits at these paths, which the disk has refused half-way.

    Args:
        after: as in `heal_intents`.

    Returns:
        what keeps those back that cannot be ended yet; their intents stay.
    """
    return _heal(root, stage, trash, tx, [intent for intent in tx.intents() if intent.path in paths], after)


def run_after(after: Sequence[After]) -> None:
    """What the disk refuses stays in the stage, from which the next start takes it to the trash."""
    for each in after:
        try:
            each()
        except PathBlocked as error:
            log.error("what was taken back stays in the stage: %s", error)


def _heal(
    root: Root, stage: Stage, trash: Trash, tx: Tx, intents: Sequence[Intent], after: list[After]
) -> dict[RelPath, Problem]:
    left: dict[RelPath, Problem] = {}
    notes: dict[RelPath, Note] = {}
    then: list[After] = []
    for intent in intents:
        try:
            notes[intent.path] = _heal_one(root, stage, trash, tx, intent, then)
        except PathBlocked as error:
            # It is tried again; meanwhile the path is looked at like any other, which can at worst take what stands
            # there for a person's doing: nothing is lost.
            log.error("%s: a commit that was cut off cannot be ended: %s", intent.path, error)
            left[intent.path] = error.problem
    if not notes:
        return left
    try:
        # Before the index forgets the intents, the disk must remember what the index then believes.
        commit.sync_parents(root, notes)
    except PathBlocked as error:
        log.error("what was healed could not be made durable: %s", error)
        return left | dict.fromkeys(notes, error.problem)
    for path, note in notes.items():
        note()
        tx.clear_intent(path)
        tx.set_pending(path)
    after += then
    return left


def _heal_one(root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent, after: list[After]) -> Note:
    commit.mend(root, stage, intent.path, intent.stage)
    for left in stage.freed_asides(intent.stage):
        _to_trash(stage, trash, left, intent.path)
    if intent.target is None:
        return _heal_removal(root, stage, trash, tx, intent)
    return _heal_placing(root, stage, trash, tx, intent, after)


def _heal_placing(root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent, after: list[After]) -> Note:
    assert intent.target is not None
    put_away = partial(_put_away, root, stage, trash, intent)
    if stage.inode(_back(intent)) == intent.inode:
        after.append(put_away)
        return _nothing
    if is_out(intent.stage) and stage.inode(own_name(intent.stage)) == intent.inode:
        return _nothing  # it had not begun
    if stage.inode(intent.stage) == intent.inode:
        if stage.sole_inode(intent.stage) == intent.inode:
            if _is_edited(stage, intent.stage, intent.target):  # it was taken back before the crash
                stage.rename(intent.stage, _back(intent))
                after.append(put_away)
            elif is_out(intent.stage):
                stage.rename(intent.stage, own_name(intent.stage))
            return _nothing  # it did not happen; what was staged is found again by its name
        if not _stands(root, intent.path, intent.inode):
            return _nothing
        stage.drop(intent.stage)  # it stands there under its second name; only the first was still to go
    elif _is_persons(stage, intent) and commit.undo(root, stage, intent.path, intent.stage, intent.inode):
        # What came out was a person's and stands where they saved it; the next scan takes it in. Ours was to be seen
        # there: somebody may have it open, and write to it later.
        stage.rename(intent.stage, _back(intent))
        after.append(put_away)
        return _nothing
    else:
        _clear_out(root, stage, trash, intent)
    if tx.base(intent.path) != intent.old:
        return _nothing  # somebody has looked there since, and knows better
    seen = root.lstat(intent.path)
    content = intent.target.content
    if seen is not None and seen.inode == intent.inode and seen.kind is content.kind:
        # racy: somebody may have written to it since, so that the next look must read it
        base = Base(content, seen, intent.target.recipe, racy=content.kind is not Kind.FOLDER)
    else:
        base = Base(content, _nowhere(content.kind), intent.target.recipe)
    return partial(tx.put_base, intent.path, base)


def _heal_removal(root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent) -> Note:
    assert intent.old is not None
    out = stage.inode(intent.stage)
    if (out is None or stage.sole_inode(intent.stage) == 0) and _stands(root, intent.path, intent.old.stat.inode):
        if out == intent.old.stat.inode:
            stage.drop(intent.stage)  # a second name that it was given; the first was still to go
        return _nothing  # it did not happen
    if out is not None and _is_persons(stage, intent) and commit.put_back(root, stage, intent.stage, intent.path):
        return _nothing  # saved just before it was to be removed: it stands there again, for the next scan
    _clear_out(root, stage, trash, intent)
    return partial(tx.put_base, intent.path, None) if tx.base(intent.path) == intent.old else _nothing


def _stands(root: Root, path: RelPath, inode: int) -> bool:
    seen = root.lstat(path)
    return seen is not None and seen.inode == inode


def _is_persons(stage: Stage, intent: Intent) -> bool:
    """True when what came out to the stage name is not what this node believed to replace."""
    content = stage.content(intent.stage)
    if content is None:
        return False
    if intent.old is None or content != intent.old.content:
        return True
    return content.kind is Kind.FOLDER and not stage.is_empty(intent.stage)


def _back(intent: Intent) -> str:
    """The name of what was staged, stood at the path, and was taken back: no other thing in the stage can have it."""
    return f"{intent.stage}.back{intent.inode}"


def _is_edited(stage: Stage, name: str, target: Version) -> bool:
    """True when what was staged is not as it was staged any more."""
    seen = stage.stat(name)
    if seen is None:
        return False
    if seen.kind is Kind.FOLDER:
        try:
            return not stage.is_empty(name)
        except PathBlocked:  # its bits forbid to look; a folder that is not empty is never dropped
            return False
    if seen.kind is Kind.FILE and (seen.size, seen.mtime_ns) == (target.size, target.mtime_ns):
        return False
    return stage.content(name) != target.content


def _put_away(root: Root, stage: Stage, trash: Trash, intent: Intent) -> None:
    """What was taken back: what somebody has made of it there goes beside the path, else it goes to the trash."""
    name = _back(intent)
    content = stage.content(name)
    if content is None:
        return
    if intent.target is not None and _is_edited(stage, name, intent.target):
        _put_beside(root, stage, trash, intent, name, content)
    else:
        _discard(stage, trash, intent, name, content)


def _clear_out(root: Root, stage: Stage, trash: Trash, intent: Intent) -> None:
    """What came out of the path and cannot go back: the old thing goes to the trash, a person's beside the path."""
    content = stage.content(intent.stage)
    if content is None:
        return
    if _is_persons(stage, intent):
        _put_beside(root, stage, trash, intent, intent.stage, content)
    else:
        _discard(stage, trash, intent, intent.stage, content)


def _discard(stage: Stage, trash: Trash, intent: Intent, name: str, content: Content) -> None:
    """What is nobody's any more goes to the trash; an empty folder just goes."""
    if content.kind is Kind.FOLDER:
        stage.drop(name)
    else:
        trash.keep(stage, name, intent.path, content)


def _put_beside(root: Root, stage: Stage, trash: Trash, intent: Intent, name: str, content: Content) -> None:
    """A person's thing goes to the name that a conflict copy of it has, or of the copy's copy, or else to the trash."""
    target = intent.path
    for _ in range(COPY_NAMES_TRIED_MAX):
        target = copy_path(target, content)
        if commit.put_back(root, stage, name, target):
            return
    if content.kind is Kind.FOLDER:
        _take_apart(stage, trash, name, intent.path)
    else:
        trash.keep(stage, name, intent.path, content)


def clean_stage(
    stage: Stage,
    trash: Trash,
    *,
    index_lost: bool,
    wanted: Callable[[], bool],
    spared: Collection[str] = (),
) -> None:
    """Drop what nobody needs from the stage. Only verified or partial downloads are ever dropped; anything else goes
    to the trash, for it may be a person's (F11).

    Args:
        index_lost: no intents are left to tell whose bytes these are.
        wanted: whether anything is still to be fetched (then partial downloads stay, to be resumed).
        spared: names of which intents still speak.
    """
    keep_partials = not index_lost and wanted()
    try:
        stage.clear_asides(spared)
    except PathBlocked as error:
        log.warning("what an exchange held aside stays in the stage: %s", error)
    for name in stage.names():
        if name in spared:
            continue
        try:
            if is_download(name) and not index_lost:
                if not keep_partials:
                    stage.drop(name)
                continue
            content = stage.content(name)
            if content is None:
                continue
            verified = content.kind is Kind.FILE and may_hold(name, Digest(content.ident))
            # A link says nothing of who made it: without intents it may be one that an exchange brought out.
            made = content.kind is Kind.SYMLINK and is_made(name) and not index_lost
            if verified or made:
                stage.drop(name)
            elif content.kind is Kind.FOLDER:
                _take_apart(stage, trash, name, RelPath(name))
            else:
                _to_trash(stage, trash, name, RelPath(name))
        except PathBlocked as error:
            log.warning("%s stays in the stage: %s", name, error)


def drop_leftovers(stage: Stage, view: View) -> bool:
    """While nothing is pending: drop downloads and made things that were overtaken before they had a place.

    What an exchange brought out is never among them: it has gone to the trash, or has another name.

    Returns:
        False when something is pending, so that nothing may be dropped.
    """
    if view.pending_count() or view.intents():
        return False
    for name in stage.names():
        if is_download(name) or is_made(name):
            try:
                stage.drop(name)
            except PathBlocked as error:
                log.warning("%s stays in the stage: %s", name, error)
    return True


def _take_apart(stage: Stage, trash: Trash, name: str, path: RelPath) -> None:
    """A folder that came out of `path`: what a person has put into it goes to the trash, thing by thing."""
    for each, inside in stage.take_apart(name):
        try:
            _to_trash(stage, trash, each, parse_path(f"{path}/{inside}"))
        except PathFault:
            _to_trash(stage, trash, each, RelPath(f"{path}/{each}"))  # under a name that can be written down
        except PathBlocked as error:
            log.warning("%s stays in the stage: %s", each, error)


def _to_trash(stage: Stage, trash: Trash, name: str, path: RelPath) -> None:
    content = stage.content(name)
    if content is not None:
        trash.keep(stage, name, path, content)


def _nowhere(kind: Kind) -> Stat:
    """A stat that nothing on a disk equals, so that the next look reads."""
    return Stat(kind, 0, 0, 0, 0, 0)

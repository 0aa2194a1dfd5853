"""Restart: what a crash left half-way is ended before anything is scanned, merged or planned (MERGE rule R9).

Whether a commit happened is read from the stage: while our staged inode still lies under its name, it did not. Then the
base is what was put there, whatever the path shows now; what it shows is a person's later doing, for the next scan.
"""

import logging
import re
from collections.abc import Callable

from meerkat.core.resolve import copy_path
from meerkat.disk import commit
from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.path import RelPath
from meerkat.model.problem import PathBlocked
from meerkat.model.version import Base, Kind, Stat
from meerkat.node.ports import Intent, Tx, View

log = logging.getLogger("meerkat.heal")

_PARTIAL = re.compile(r"([0-9a-f]{40})\.[0-9a-f]{12}")
_MADE = re.compile(r"(link|folder)\.[0-9a-f]{12}")


def heal_intents(root: Root, stage: Stage, trash: Trash, tx: Tx) -> int:
    """End every commit that was under way; the number of them."""
    intents = tx.intents()
    for intent in intents:
        try:
            _heal_one(root, stage, trash, tx, intent)
        except PathBlocked as error:
            # The next start tries again; meanwhile the path is looked at like any other, which can at worst take
            # what stands there for a person's doing: nothing is lost.
            log.error("%s: a commit that was cut off cannot be ended: %s", intent.path, error)
            _out_of_reach(stage, intent)
            continue
        tx.clear_intent(intent.path)
        tx.set_pending(intent.path)
    if intents:
        _make_durable(root, [intent.path for intent in intents])
    return len(intents)


def _out_of_reach(stage: Stage, intent: Intent) -> None:
    """What came out lies under the name of a download, which may be dropped or begun anew: give it another."""
    try:
        if stage.inode(intent.stage) not in (None, intent.inode):
            stage.rename(intent.stage, f"{intent.stage}.out")
    except PathBlocked as error:
        log.error("%s stays in the stage as %s: %s", intent.path, intent.stage, error)


def _make_durable(root: Root, paths: list[RelPath]) -> None:
    """Before the index forgets the intents, the disk must remember what the index then believes."""
    try:
        commit.sync_parents(root, paths)
    except PathBlocked as error:
        log.error("what was healed could not be made durable: %s", error)


def _heal_one(root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent) -> None:
    left = commit.mend(root, stage, intent.path, intent.stage)
    if left is not None:
        _to_trash(stage, trash, left, intent.path)
    if intent.target is None:
        _heal_removal(root, stage, trash, tx, intent)
    else:
        _heal_placing(root, stage, trash, tx, intent)


def _heal_placing(root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent) -> None:
    assert intent.target is not None
    if stage.inode(intent.stage) == intent.inode:
        return  # it did not happen; what was staged is found again by its name
    if _is_persons(stage, intent) and commit.undo(root, stage, intent.path, intent.stage, intent.inode):
        return  # what came out was a person's and stands where they saved it; the next scan takes it in
    _clear_out(root, stage, trash, intent)
    seen = root.lstat(intent.path)
    content = intent.target.content
    if seen is not None and seen.inode == intent.inode and seen.kind is content.kind:
        # racy: somebody may have written to it since, so that the next look must read it
        tx.put_base(intent.path, Base(content, seen, intent.target.recipe, racy=content.kind is not Kind.FOLDER))
    else:
        tx.put_base(intent.path, Base(content, _nowhere(content.kind), intent.target.recipe))


def _heal_removal(root: Root, stage: Stage, trash: Trash, tx: Tx, intent: Intent) -> None:
    assert intent.old is not None
    if stage.inode(intent.stage) is not None:
        if _is_persons(stage, intent) and commit.put_back(root, stage, intent.stage, intent.path):
            return  # saved just before it was to be removed: it stands there again, for the next scan
    else:
        seen = root.lstat(intent.path)
        if seen is not None and seen.inode == intent.old.stat.inode:
            return  # it did not happen
    _clear_out(root, stage, trash, intent)
    tx.put_base(intent.path, None)


def _is_persons(stage: Stage, intent: Intent) -> bool:
    """True when what came out to the stage name is not what this node believed to replace."""
    content = stage.content(intent.stage)
    if content is None:
        return False
    if intent.old is None or content != intent.old.content:
        return True
    return content.kind is Kind.FOLDER and not stage.is_empty(intent.stage)


def _clear_out(root: Root, stage: Stage, trash: Trash, intent: Intent) -> None:
    """What came out of the path and cannot go back: the old thing goes to the trash, a person's beside the path."""
    content = stage.content(intent.stage)
    if content is None:
        return
    if not _is_persons(stage, intent):
        if content.kind is Kind.FOLDER:
            stage.drop(intent.stage)
        else:
            trash.keep(stage, intent.stage, intent.path, content)
    elif not commit.put_back(root, stage, intent.stage, copy_path(intent.path, content)):
        if content.kind is Kind.FOLDER:
            aside = f"{intent.stage}.folder"
            stage.rename(intent.stage, aside)
            log.error("a folder that stood at %s is kept in .meerkat/stage/%s", intent.path, aside)
        else:
            trash.keep(stage, intent.stage, intent.path, content)


def clean_stage(stage: Stage, trash: Trash, *, index_lost: bool, wanted: Callable[[], bool]) -> None:
    """Drop what nobody needs from the stage. Only verified or partial downloads are ever dropped; anything else goes
    to the trash, for it may be a person's (F11).

    Args:
        index_lost: no intents are left to tell whose bytes these are.
        wanted: whether anything is still to be fetched (then partial downloads stay, to be resumed).
    """
    keep_partials = not index_lost and wanted()
    for name in stage.names():
        try:
            partial = _PARTIAL.fullmatch(name)
            if partial is not None and not index_lost:
                if not keep_partials:
                    stage.drop(name)
                continue
            content = stage.content(name)
            if content is None:
                continue
            verified = partial is not None and content.kind is Kind.FILE and content.ident.hex()[:40] == partial[1]
            # A link says nothing of who made it: without intents it may be one that an exchange brought out.
            made = content.kind is Kind.SYMLINK and name.startswith("link.") and not index_lost
            if verified or content.kind is Kind.FOLDER or made:
                stage.drop(name)
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
        if _PARTIAL.fullmatch(name) or _MADE.fullmatch(name):
            try:
                stage.drop(name)
            except PathBlocked as error:
                log.warning("%s stays in the stage: %s", name, error)
    return True


def _to_trash(stage: Stage, trash: Trash, name: str, path: RelPath) -> None:
    content = stage.content(name)
    if content is not None:
        trash.keep(stage, name, path, content)


def _nowhere(kind: Kind) -> Stat:
    """A stat that nothing on a disk equals, so that the next look reads."""
    return Stat(kind, 0, 0, 0, 0, 0)

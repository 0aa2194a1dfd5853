"""From a folder to an open index: what is lost is set aside, what was cut off is healed, and who writes is settled.

Order matters (R9, R11, R12): intents are healed before anything else is concluded; an author goes on only where its
continuity is proven; an index that is new or older than the disk gives no dots until a member's whole index was merged.
"""

import logging
import secrets

from msgspec import Struct

from meerkat.disk.root import Root
from meerkat.disk.stage import Stage
from meerkat.disk.trash import Trash
from meerkat.model.dot import Author
from meerkat.model.fault import Fault
from meerkat.model.ids import NodeId
from meerkat.model.path import RelPath
from meerkat.node.heal import After, clean_stage, heal_intents, names_of, run_after
from meerkat.node.home import Home
from meerkat.node.ports import Tx
from meerkat.node.witness import Witness
from meerkat.store.errors import IndexDamaged, IndexTooNew
from meerkat.store.index import Index

log = logging.getLogger("meerkat.opening")


class Opened(Struct):
    """An index ready for work.

    Attributes:
        starts: how often a node has started on it, this one included.
        set_aside: where a damaged index was put, or empty.
        cut_off: paths of commits that were cut off and cannot be ended yet.
        moved: under this identity the folder has been copied or moved to where it lies (once and for all: a copy that
            runs beside its original yields to it).
    """

    index: Index
    witness: Witness
    starts: int
    set_aside: str
    moved: bool = False
    cut_off: tuple[RelPath, ...] = ()


def open_index(home: Home, node: NodeId, root: Root, stage: Stage, trash: Trash) -> Opened:
    """Open, heal and settle (in a worker thread; blocking).

    Raises:
        Fault: index_too_new.
    """
    set_aside = ""
    is_new = not home.index.exists()
    try:
        index = Index.open(home.index)
        after: list[After] = []
        with index.write() as tx:
            healed = heal_intents(root, stage, trash, tx, after)
        run_after(after)
    except IndexTooNew as error:
        raise Fault("index_too_new", str(error), hint="run the newer version of meerkat that wrote it") from error
    except IndexDamaged as error:
        set_aside = str(Index.set_aside(home.index))
        log.error("the index was damaged (%s) and is set aside as %s; it is made anew from the pool", error, set_aside)
        is_new = True
        index = Index.open(home.index)
    else:
        if healed:
            log.info("%d commits had been cut off and are ended", healed)
    witness = Witness(home.folder, home.index)
    with index.write() as tx:
        starts = _settle_author(tx, node, witness, is_new=is_new)
        wanted = tx.pending_count() > 0
        recovering = bool(tx.meta("recovering"))
        moved = tx.meta("moved") == node.encode()
        tx.drop_aside(None)
        left = tx.intents()
    # A new index has no intents, an older one not those that came after it: they cannot tell whose bytes are staged
    # (F11). Nothing is downloaded while recovering, so this holds for a start that takes a recovery up again, too.
    clean_stage(stage, trash, index_lost=recovering, wanted=lambda: wanted, spared=names_of(left))
    with index.write() as tx:
        seq = tx.context().get(tx.author(), 0)
    witness.testify(node, starts, seq, clean=False)
    return Opened(index, witness, starts, set_aside, moved, tuple(intent.path for intent in left))


def _settle_author(tx: Tx, node: NodeId, witness: Witness, *, is_new: bool) -> int:
    counted = int.from_bytes(tx.meta("starts") or b"", "big")
    if is_new or counted == 0:
        tx.renew_author(new_author(node))
        tx.put_meta("recovering", b"lost")
    else:
        author = tx.author()
        verdict = witness.judge(node, counted, tx.context().get(author, 0))
        if not verdict.proven or author.node != node:
            tx.renew_author(new_author(node))
        if verdict.moved and author.node == node:
            tx.put_meta("moved", node.encode())
        if verdict.older:
            log.warning("the index is older than what this node wrote last: learning the rest from the pool first")
            tx.put_meta("recovering", b"older")
    starts = counted + 1
    tx.put_meta("starts", starts.to_bytes(8, "big"))
    return starts


def new_author(node: NodeId) -> Author:
    """A life that nobody has had: 63 random bits."""
    return Author(node, secrets.randbits(63) or 1)


def renew(outrun: Author, tx: Tx) -> None:
    """End that life, once, however many members have said that it is over."""
    if tx.author() == outrun:
        tx.renew_author(new_author(outrun.node))


def close_index(opened: Opened, node: NodeId) -> None:
    """A clean stop: note from outside what the index durably says (the index is closed by its books)."""
    with opened.index.write() as tx:
        seq = tx.context().get(tx.author(), 0)
    opened.witness.testify(node, opened.starts, seq, clean=True)

"""All that can happen to the fetching machine, and all that it can ask for.

Apart from the machine (`core/fetch.py`), so that whoever feeds it reads one page.
"""

from msgspec import Struct

from meerkat.model.frame import Piece
from meerkat.model.ids import NodeId


class Want(Struct, frozen=True):
    """A piece to fetch. `hints`: members believed to have it. `urgent`: do not let it wait behind bulk."""

    piece: Piece
    hints: tuple[NodeId, ...] = ()
    urgent: bool = False


# ---- what can happen


class PieceWanted(Struct, frozen=True):
    """Once more: the same piece may be wanted by several."""

    want: Want


class PiecesWanted(Struct, frozen=True):
    """Many at once, which makes fuller asks than one by one."""

    wants: tuple[Want, ...]


class PieceUnwanted(Struct, frozen=True):
    """One of those who wanted the piece gave up."""

    piece: Piece


class SourceOpened(Struct, frozen=True):
    node: NodeId


class SourceClosed(Struct, frozen=True):
    node: NodeId


class SourceProgressed(Struct, frozen=True):
    """It may have more by now: what it lacked is forgotten."""

    node: NodeId


class PiecesArrived(Struct, frozen=True):
    """They came together and their digests were right: all who wanted them are served, nobody wants them any more."""

    node: NodeId
    ask_id: int
    pieces: tuple[Piece, ...]


class PieceLacked(Struct, frozen=True):
    node: NodeId
    ask_id: int
    piece: Piece


class PiecesPointed(Struct, frozen=True):
    """The source has these pieces, and would rather have each asked of the one that it has just given it to."""

    node: NodeId
    ask_id: int
    pieces: tuple[tuple[Piece, NodeId], ...]


class PieceSpoiled(Struct, frozen=True):
    """The piece came with other bytes than its digest promises; it is still wanted, but not from there.

    For a recipe, whose parts have no digests of their own, it may come after `PiecesArrived`, for every part; those
    are then wanted anew.
    """

    node: NodeId
    piece: Piece


class Tick(Struct, frozen=True):
    """The time of `wake_at` has come."""


Event = (
    PieceWanted
    | PiecesWanted
    | PieceUnwanted
    | SourceOpened
    | SourceClosed
    | SourceProgressed
    | PiecesArrived
    | PieceLacked
    | PiecesPointed
    | PieceSpoiled
    | Tick
)


# ---- what can be asked for


class SendAsk(Struct, frozen=True):
    node: NodeId
    ask_id: int
    pieces: tuple[Piece, ...]


class CancelAsk(Struct, frozen=True):
    """What is left of the ask is not needed from there any more."""

    node: NodeId
    ask_id: int


class ReportStuck(Struct, frozen=True):
    """Sources are open, and none has the piece. Said once; again after something has changed, and to a new want."""

    piece: Piece


Command = SendAsk | CancelAsk | ReportStuck
